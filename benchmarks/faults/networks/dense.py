"""Networks of matrices: an MLP, one of functional calls only, a deep one with one shared activation, two towers."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from torch import Tensor, nn

from benchmarks.faults.kinds import Kind
from benchmarks.faults.networks.base import Network, Place, behind

WIDTH = 16


class MLP(Network):
    """Three hidden layers, each with an activation module of its own."""

    shapes = ((12,),)

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        widths = (12, WIDTH, WIDTH, WIDTH)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.acts = nn.ModuleList(kind.module(WIDTH, inplace=i == 1) for i in range(3))
        self.head = nn.Linear(WIDTH, 4)
        into = ["layers.1.weight", "layers.2.weight", "head.weight"]
        self.places = tuple(behind(f"layers.{i}", str(i), WIDTH, consumer=into[i]) for i in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for i, (layer, act) in enumerate(zip(self.layers, self.acts, strict=True)):
            x = self.tape.after(str(i), act(self.tape.before(str(i), layer(x))))
        return self.out(x)


class Functional(Network):
    """No module but the network itself: parameters and calls, each layer's rectifier spelled another way."""

    shapes = ((10,),)

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        widths = (10, WIDTH, WIDTH, WIDTH, 4)
        layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
        self.weights = nn.ParameterList(layer.weight for layer in layers)
        self.biases = nn.ParameterList(layer.bias for layer in layers)
        self.slopes = nn.Parameter(torch.tensor(kind.slopes(WIDTH)))
        self.spellings = kind.spellings
        self.places = tuple(self._place(i) for i in range(3))

    @staticmethod
    def _place(i: int) -> Place:
        parts = (f"weights.{i}", f"biases.{i}")
        return Place(str(i), WIDTH, parts[:1], parts[1], parts, consumer=f"weights.{i + 1}")

    def forward(self, x: Tensor) -> Tensor:
        for i, spelling in enumerate(self.spellings):
            z = self.tape.before(str(i), F.linear(x, self.weights[i], self.biases[i]))
            x = self.tape.after(str(i), spelling(z, self.slopes))
        return F.linear(x, self.weights[3], self.biases[3])

    def speak_leaky(self) -> None:
        self.spellings = self.kind.user_spellings or self.kind.spellings


class Deep(Network):
    """Six layers behind one and the same activation module."""

    shapes = ((12,),)
    depth = 6

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.layers = nn.ModuleList(nn.Linear(12, 12) for _ in range(self.depth))
        self.act = kind.module(12)
        self.head = nn.Linear(12, 3)
        for i in range(self.depth):
            nn.init.kaiming_normal_(self.get_parameter(f"layers.{i}.weight"))
        into = [f"layers.{i}.weight" for i in range(1, self.depth)] + ["head.weight"]
        self.places = tuple(behind(f"layers.{i}", str(i), 12, consumer=into[i]) for i in range(self.depth))

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = self.tape.after(str(i), self.act(self.tape.before(str(i), layer(x))))
        return self.out(x)


class Siamese(Network):
    """Two towers with the same weights, whose outputs are compared."""

    shapes = ((10,), (10,))

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.first = nn.Linear(10, WIDTH)
        self.second = nn.Linear(WIDTH, WIDTH)
        self.acts = nn.ModuleList(kind.module(WIDTH) for _ in range(2))
        self.head = nn.Linear(WIDTH, 2)
        self.places = (behind("first", "0", WIDTH), behind("second", "1", WIDTH))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.out(self._tower(a) * self._tower(b))

    def _tower(self, x: Tensor) -> Tensor:
        for i, (layer, act) in enumerate(zip((self.first, self.second), self.acts, strict=True)):
            x = self.tape.after(str(i), act(self.tape.before(str(i), layer(x))))
        return x
