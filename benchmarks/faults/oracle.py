"""What is true of every unit, by finite differences: nothing here knows leaky, a slope, a cap or the kind of network.

Each unit's incoming weights are moved by a tiny step, one unit after another, both ways along two directions, and all
inputs run through the network again in float64. What the place puts out for that unit, divided by what came in, is the
response on each input and position.

- dead: the response is practically 0 (at most τ) on every input and position: nothing after the place changes. This is
  a statement on the place; where the pre-activation has another way to the output, that way does not count.
- locked: it responds everywhere, by one and the same factor that is not small, so it is linear. Positive where that
  factor is 1, negative elsewhere.
- nearly dead: it responds on less than 1% of the inputs, but on some.
- cut off: the place's output changes, the network's never does.

Silent, dormant and constant are counted and averaged straight from their definitions, in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.faults.networks import Network, Place

Mask = NDArray[np.bool_]

STEP = 1e-7
PRACTICALLY_ZERO = 1e-3
SAME = 1e-4
"""Responses this close are one response: rounding in float64 leaves about 1e-8 of them uncertain."""

NEARLY_DEAD_RATE = 0.01
DORMANT_SCORE = 0.025
CONSTANT_RANGE = 1e-6
STARVED_SCORE = 0.01


class UndecidedError(AssertionError):
    """A unit of which finite differences cannot tell what it is."""


@dataclass(frozen=True)
class Response:
    """How the units of a place respond.

    Attributes:
        lowest, highest: response on each sample, over positions and directions, shape (samples, units).
        reaches_output: whether the network's output ever moved, shape (units,).
        gradient: mean |ΔL ÷ Δz| over samples, shape (units,), where each sample has one position; else None.
        fires: whether z passes 0 at some position, shape (samples, units).
        z_low, z_high: smallest and largest z on each sample, shape (samples, units).
        size: mean |h| on each sample, shape (samples, units).
    """

    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    reaches_output: Mask
    gradient: NDArray[np.float64] | None
    fires: Mask
    z_low: NDArray[np.float64]
    z_high: NDArray[np.float64]
    size: NDArray[np.float64]

    def truths(self, samples: int | None = None) -> dict[str, Mask]:
        """What is true of each unit on the first samples (all by default), by verdict; masks of shape (units,)."""
        part = slice(samples)
        lowest, highest = self.lowest[part], self.highest[part]
        low, high = lowest.min(axis=0), highest.max(axis=0)
        dead = np.maximum(np.abs(low), np.abs(high)) <= PRACTICALLY_ZERO
        linear = (high - low <= SAME) & ~dead
        unity = np.abs(low - 1) <= SAME
        active = (np.maximum(np.abs(lowest), np.abs(highest)) > PRACTICALLY_ZERO).sum(axis=0)
        z_low, z_high = self.z_low[part].min(axis=0), self.z_high[part].max(axis=0)
        size = self.size[part].mean(axis=0)
        return {
            "silent": ~self.fires[part].any(axis=0),
            "dead": dead,
            "locked_negative": linear & ~unity,
            "locked_positive": linear & unity,
            "nearly_dead": (active < NEARLY_DEAD_RATE * len(lowest)) & ~dead,
            "dormant": size <= DORMANT_SCORE * size.mean(),
            "constant": z_high - z_low <= CONSTANT_RANGE * np.maximum(np.abs(z_low), np.abs(z_high)),
            "cut_off": ~self.reaches_output & ~dead,
        }

    def starved(self) -> Mask | None:
        """Units that fire and get practically none of the gradient that their neighbours get."""
        if self.gradient is None:
            return None
        dead = self.truths()["dead"]
        starved: Mask = self.gradient <= STARVED_SCORE * self.gradient.mean()
        return starved & self.fires.any(axis=0) & ~dead


def sample_losses(output: Tensor) -> Tensor:
    """A loss of each sample: Σ output²."""
    return output.square().sum(dim=1)


def examine(network: Network, inputs: tuple[Tensor, ...], seed: int) -> dict[str, Response]:
    """Every unit of every place.

    Args:
        network: of plain torch operations, in float64 and eval mode; left as it was.
        inputs: all of them, in float64.
        seed: of the random direction.

    Raises:
        UndecidedError: where a verdict hangs on a step that crossed a kink, or on an element that no step moved; or
            where the network's output moves though the place's does not, and no other way is known.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return {place.name: _respond(network, inputs, place, generator) for place in network.places}


def _respond(network: Network, inputs: tuple[Tensor, ...], place: Place, generator: torch.Generator) -> Response:
    output, z, h = _run(network, inputs, place)
    units = [_unit(network, inputs, place, unit, (output, z, h), generator) for unit in range(place.units)]
    gradients = [u.gradient for u in units if u.gradient is not None]
    return Response(
        lowest=np.stack([u.lowest for u in units], axis=1),
        highest=np.stack([u.highest for u in units], axis=1),
        reaches_output=np.array([u.reaches_output for u in units]),
        gradient=np.array(gradients) if gradients else None,
        fires=(z > 0).any(dim=2).numpy(),
        z_low=z.amin(dim=2).numpy(),
        z_high=z.amax(dim=2).numpy(),
        size=h.abs().mean(dim=2).numpy(),
    )


@dataclass(frozen=True)
class _UnitResponse:
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    reaches_output: bool
    gradient: float | None


def _unit(
    network: Network,
    inputs: tuple[Tensor, ...],
    place: Place,
    unit: int,
    before: tuple[Tensor, Tensor, Tensor],
    generator: torch.Generator,
) -> _UnitResponse:
    output, z, h = before
    ratios, moved, losses = [], False, []
    for direction in _directions(network, place, unit, generator):
        for sign in (STEP, -STEP):
            with _stepped(network, direction, unit, sign):
                new_output, new_z, new_h = _run(network, inputs, place)
            came = new_z[:, unit] - z[:, unit]
            known = came.abs() > 1e-2 * came.abs().max()
            ratios.append(torch.where(known, (new_h[:, unit] - h[:, unit]) / came, torch.nan).numpy())
            moved |= bool((new_output != output).any())
            losses.append((sample_losses(new_output), new_z[:, unit]))
    name = f"{place.name}[{unit}]"
    lowest, highest = _steady(np.stack(ratios), name)
    if moved and not place.bypass and not lowest.any() and not highest.any():
        raise UndecidedError(f"{name}: nothing comes out of the place, and yet the network's output moves")
    return _UnitResponse(lowest, highest, moved, _gradient(losses))


def _directions(
    network: Network, place: Place, unit: int, generator: torch.Generator
) -> Iterator[dict[str, Tensor | float]]:
    """The bias alone, which moves every position; and all incoming weights, at random."""
    yield {place.bias: 1.0}
    rows = {name: network.get_parameter(name)[unit] for name in (*place.weights, place.bias)}
    yield {name: torch.randn(row.shape, generator=generator, dtype=row.dtype) for name, row in rows.items()}


@contextmanager
def _stepped(network: Network, direction: dict[str, Tensor | float], unit: int, step: float) -> Iterator[None]:
    kept = {name: network.get_parameter(name)[unit].clone() for name in direction}
    for name, part in direction.items():
        network.get_parameter(name)[unit] += step * part
    try:
        yield
    finally:
        for name, row in kept.items():
            network.get_parameter(name)[unit] = row


def _run(network: Network, inputs: tuple[Tensor, ...], place: Place) -> tuple[Tensor, Tensor, Tensor]:
    network.tape.start(place.name)
    output = network(*inputs)
    z, h = network.tape.pre_activation(place.name), network.tape.output(place.name)
    network.tape.start()
    return output, z, h


def _steady(ratios: NDArray[np.float64], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lowest and the highest response on each sample.

    A step that crosses a kink responds otherwise than its neighbours: that shows that the unit is on both sides of it,
    which must be told from the other elements too.
    """
    low, high = np.fmin.reduce(ratios), np.fmax.reduce(ratios)
    if np.isnan(low).any():
        raise UndecidedError(f"{name}: no step moved every element")
    kinked = high - low > SAME
    if kinked.any():
        others_low, others_high = low[~kinked], high[~kinked]
        if others_high.size == 0 or others_high.max() - others_low.min() <= SAME:
            raise UndecidedError(f"{name}: only steps across a kink tell its elements apart")
    return low.min(axis=1), high.max(axis=1)


def _gradient(losses: list[tuple[Tensor, Tensor]]) -> float | None:
    """Mean |ΔL ÷ Δz| over samples, from the two steps of the bias."""
    (up, z_up), (down, z_down) = losses[:2]
    if z_up.shape[1] != 1:
        return None
    return float(((up - down) / (z_up - z_down)[:, 0]).abs().mean())
