"""Faults, planted by moving and scaling what comes into single units until they behave as wanted on the data.

A plant only edits a unit's incoming weights (one of them its outgoing ones), as training could have. Whether it came
out as wanted is for the oracle to say.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.faults.kinds import Kind
from benchmarks.faults.networks import Network, Place

BURSTY_RATE = 0.01
"""Share of the samples on which a bursty unit fires."""

NEARLY_RATE = 0.003
"""Share of the samples on which a nearly dead unit fires, or comes back from beyond the cap."""

DORMANT_SHARE = 0.01
"""What a dormant unit's mean |h| is of its layer's."""

ROUNDS = 3
"""A plant may move its layer's mean, and in a recurrent layer its neighbours too: each is renewed this often."""

RECURRENT_ROUNDS = 25


@dataclass(frozen=True)
class View:
    """What a plant may look at: one unit of one place.

    Attributes:
        z: its pre-activations, shape (samples, positions).
        share: its mean |h| ÷ the layer's.
        kind: of the rectifier.
        slope: its α.
    """

    z: Tensor
    share: float
    kind: Kind
    slope: float

    @property
    def low(self) -> float:
        return float(self.z.min())

    @property
    def high(self) -> float:
        return float(self.z.max())

    @property
    def margin(self) -> float:
        """Half a standard deviation; 1/2 for a unit that does not vary."""
        return 0.5 * (float(self.z.std()) or 1.0)

    def between(self, samples: int) -> float:
        """The level that exactly this many samples pass at some position."""
        peaks = self.z.amax(dim=1).sort(descending=True).values
        return float(peaks[samples - 1] + peaks[samples]) / 2


Move = tuple[float, float]
"""Factor and shift: z becomes factor·z + shift."""


def _below(v: View) -> Move:
    if v.kind.floor is None:
        return 1.0, -v.high - v.margin
    return _within(v, v.kind.floor)


def _above(v: View) -> Move:
    if v.kind.cap is None:
        return 1.0, v.margin - v.low
    return _within(v, v.kind.cap)


def _within(v: View, bound: float) -> Move:
    """Into the stretch from .1 to .9 of the bound."""
    factor = 0.8 * abs(bound) / ((v.high - v.low) or 1.0)
    centre = (v.low + v.high) / 2
    return factor, 0.5 * bound - factor * centre


def _beyond_cap(v: View) -> Move:
    assert v.kind.cap is not None
    return 1.0, v.kind.cap + v.margin - v.low


def _beyond_floor(v: View) -> Move:
    assert v.kind.floor is not None
    return 1.0, v.kind.floor - v.margin - v.high


def _bursty(v: View) -> Move:
    return 1.0, -v.between(math.ceil(BURSTY_RATE * len(v.z)))


def _nearly(v: View) -> Move:
    return 1.0, -v.between(max(1, int(NEARLY_RATE * len(v.z))))


def _nearly_beyond(v: View) -> Move:
    assert v.kind.cap is not None
    lows, within = v.z.amin(dim=1).sort().values, max(1, int(NEARLY_RATE * len(v.z)))
    return 1.0, v.kind.cap - float(lows[within - 1] + lows[within]) / 2


def _pixel_sparse(v: View) -> Move:
    return 1.0, -v.between(len(v.z) // 2)


def _healthy(v: View) -> Move:
    return 1.0, -float(v.z.median())


def _dormant(v: View) -> Move:
    centre = float(v.z.median())
    factor = DORMANT_SHARE / v.share if v.share > 0 else 1.0
    return factor, -factor * centre


def _constant(v: View) -> Move:
    return 0.0, 0.7


@dataclass(frozen=True)
class Plant:
    """A fault.

    Attributes:
        move: how it gets there, None where nothing moves.
        scales: whether it needs to scale the pre-activation.
        cuts: whether it cuts the unit off from what comes after.
    """

    move: Callable[[View], Move] | None
    scales: bool = False
    cuts: bool = False


PLANTS = {
    "healthy": Plant(_healthy),
    "below": Plant(_below),
    "above": Plant(_above),
    "bursty": Plant(_bursty),
    "dormant": Plant(_dormant, scales=True),
    "nearly dead": Plant(_nearly),
    "pixel-sparse": Plant(_pixel_sparse),
    "beyond the cap": Plant(_beyond_cap),
    "beyond the floor": Plant(_beyond_floor),
    "nearly always beyond the cap": Plant(_nearly_beyond),
    "constant": Plant(_constant, scales=True),
    "cut off": Plant(_healthy, cuts=True),
}
"""Every fault by name; "below" is dead under a slope of practically 0, else locked negative."""


def possible(place: Place, kind: Kind, positions: int) -> list[str]:
    """The plants that this place can take."""
    without = set()
    if not place.scale:
        without |= {name for name, plant in PLANTS.items() if plant.scales}
        without |= ({"above"} if kind.cap else set()) | ({"below"} if kind.floor else set())
    if positions < 8:
        without.add("pixel-sparse")
    if kind.cap is None:
        without |= {"beyond the cap", "nearly always beyond the cap"}
    if kind.floor is None:
        without.add("beyond the floor")
    if place.consumer is None:
        without.add("cut off")
    return [name for name in PLANTS if name not in without]


def plant(network: Network, inputs: tuple[Tensor, ...], seed: int) -> dict[str, dict[int, str]]:
    """Plant faults into about three quarters of the units; the others stay as they came.

    Args:
        network: in float64; changed in place.
        inputs: all the data there is.
        seed: of which unit gets which fault.

    Returns:
        The name of each planted unit's fault, by place and unit.
    """
    rng = random.Random(seed)
    planted = {}
    for place in network.places:
        z = _run(network, inputs, place)[0]
        wanted = _assign(place, possible(place, network.kind, z.shape[2]), rng)
        for _ in range(RECURRENT_ROUNDS if place.name == "cell" else ROUNDS):
            _renew(network, inputs, place, wanted)
        planted[place.name] = wanted
    return planted


def _assign(place: Place, names: list[str], rng: random.Random) -> dict[int, str]:
    units = rng.sample(range(place.units), 3 * place.units // 4)
    rng.shuffle(names)
    return {unit: names[i % len(names)] for i, unit in enumerate(units)}


def _run(network: Network, inputs: tuple[Tensor, ...], place: Place) -> tuple[Tensor, Tensor]:
    network.tape.start(place.name)
    with torch.no_grad():
        network(*inputs)
    z, h = network.tape.pre_activation(place.name), network.tape.output(place.name)
    network.tape.start()
    return z, h


def _renew(network: Network, inputs: tuple[Tensor, ...], place: Place, wanted: dict[int, str]) -> None:
    z, h = _run(network, inputs, place)
    size = h.abs().mean(dim=(0, 2))
    slopes = network.kind.slopes(place.units)
    for unit, name in wanted.items():
        fault = PLANTS[name]
        if fault.move is not None:
            view = View(z[:, unit], float(size[unit] / size.mean()), network.kind, slopes[unit])
            _apply(network, place, unit, *fault.move(view))
        if fault.cuts and place.consumer is not None:
            network.get_parameter(place.consumer).data[:, unit] = 0.0


def _apply(network: Network, place: Place, unit: int, factor: float, shift: float) -> None:
    if factor != 1.0:
        for name in place.scale:
            network.get_parameter(name).data[unit] *= factor
    network.get_parameter(place.bias).data[unit] += shift
