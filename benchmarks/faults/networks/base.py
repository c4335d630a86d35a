"""What every network of the benchmark can tell of itself, without leaky: its places and what passed through them."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.faults.kinds import Kind, PlainClamped, clamped_module


@dataclass(frozen=True)
class Place:
    """One place where a network rectifies.

    Attributes:
        name: in the network's tape.
        units: at it.
        weights: names of the parameters with the units' incoming weights, one row a unit.
        bias: name of the parameter that moves each unit's pre-activation by a constant.
        scale: names of the parameters that multiply the pre-activation when they are scaled together; empty where a
            shortcut adds to it.
        consumer: name of the weight whose columns take this place's units, where there is only one and it is a matrix.
        bypass: whether the pre-activation reaches the output by another way than through this place.
    """

    name: str
    units: int
    weights: tuple[str, ...]
    bias: str
    scale: tuple[str, ...] = ()
    consumer: str | None = None
    bypass: bool = False


def behind(layer: str, name: str, units: int, *, consumer: str | None = None, recurrent: str | None = None) -> Place:
    """A place behind one linear or convolution layer with a bias."""
    weights = tuple(f"{part}.weight" for part in (layer, recurrent) if part)
    return Place(name, units, weights, f"{layer}.bias", (*weights, f"{layer}.bias"), consumer)


class Tape:
    """Notes what goes into and comes out of each place while it runs; each as (samples, units, positions)."""

    def __init__(self) -> None:
        self._wanted: frozenset[str] = frozenset()
        self._into: dict[str, list[Tensor]] = {}
        self._out_of: dict[str, list[Tensor]] = {}

    def start(self, *names: str) -> None:
        """Forget everything, and note these places from now on; none: note nothing."""
        self._wanted, self._into, self._out_of = frozenset(names), {}, {}

    def before(self, name: str, z: Tensor, samples: int = 0, units: int = 1) -> Tensor:
        """The pre-activation, unchanged; it may be overwritten afterwards."""
        if name in self._wanted:
            self._into.setdefault(name, []).append(_as_units(z, samples, units).clone())
        return z

    def after(self, name: str, h: Tensor, samples: int = 0, units: int = 1) -> Tensor:
        """The output, unchanged."""
        if name in self._wanted:
            self._out_of.setdefault(name, []).append(_as_units(h, samples, units).clone())
        return h

    def wants(self, name: str) -> bool:
        """Whether this place is being noted."""
        return name in self._wanted

    def pre_activation(self, name: str) -> Tensor:
        """The z of a place, the calls of one pass side by side as positions."""
        return torch.cat(self._into[name], dim=2)

    def output(self, name: str) -> Tensor:
        """The h of a place, likewise."""
        return torch.cat(self._out_of[name], dim=2)


def _as_units(value: Tensor, samples: int, units: int) -> Tensor:
    ordered = value.detach().movedim((samples, units), (0, 1))
    return ordered.reshape(*ordered.shape[:2], -1)


class Network(nn.Module):
    """A network with its tape and its places.

    Attributes:
        kind: of its rectifiers.
        places: in the order in which they first run.
        shapes: of one sample, for each input.
        sample_dim: of the inputs.
    """

    shapes: tuple[tuple[int, ...], ...]
    sample_dim = 0
    head: nn.Linear

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        self.tape = Tape()
        self.places: tuple[Place, ...] = ()

    def out(self, features: Tensor) -> Tensor:
        """The network's output, of shape (samples, outputs)."""
        output: Tensor = self.head(features)
        return output

    @property
    def units(self) -> int:
        """Over all places."""
        return sum(place.units for place in self.places)

    def inputs(self, samples: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Independent standard normal samples."""
        return tuple(torch.randn(samples, *s, generator=generator).movedim(0, self.sample_dim) for s in self.shapes)

    def settle(self, inputs: tuple[Tensor, ...]) -> None:
        """Whatever must have seen data before the network can be judged (normalisation)."""

    def as_users_have_it(self) -> Network:
        """A copy in float32, with leaky's own function where this one has the twin of plain operations."""
        theirs = copy.deepcopy(self).float()
        for module in list(theirs.modules()):
            for name, child in module.named_children():
                if isinstance(child, PlainClamped):
                    setattr(module, name, clamped_module())
        theirs.speak_leaky()
        return theirs

    def speak_leaky(self) -> None:
        """Use leaky's own functional call where there is one to use."""
