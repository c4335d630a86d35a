"""Networks over time: transformer blocks in both orders of axes, and a recurrent one."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from torch import Tensor, nn

from benchmarks.faults.kinds import Kind
from benchmarks.faults.networks.base import Network, Place, Tape, behind

STEPS = 6
HIDDEN = 14


class Block(nn.Module):
    """A pre-norm transformer block; its feed-forward part rectifies."""

    def __init__(self, kind: Kind, batch_first: bool, tape: Tape, name: str) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(2))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.inner = nn.Linear(8, 16)
        self.outer = nn.Linear(16, 8)
        self.act = kind.module(16)
        self.per_channel = kind.slope is None
        self.tape, self.name, self.sample_dim = tape, name, 0 if batch_first else 1

    def forward(self, x: Tensor) -> Tensor:
        h = self.norms[0](x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        z = self.tape.before(self.name, self.inner(self.norms[1](x)), self.sample_dim, 2)
        added: Tensor = self.outer(self.tape.after(self.name, self._rectified(z), self.sample_dim, 2))
        return x + added

    def _rectified(self, z: Tensor) -> Tensor:
        """A PReLU has its channels on axis 1, whatever the order of the others."""
        h: Tensor = self.act(z.movedim(2, 1)).movedim(1, 2) if self.per_channel else self.act(z)
        return h


class Transformer(Network):
    """Two blocks over (samples, time, channels) or (time, samples, channels)."""

    def __init__(self, kind: Kind, batch_first: bool) -> None:
        super().__init__(kind)
        self.shapes = ((STEPS, 8),)
        self.sample_dim = 0 if batch_first else 1
        self.blocks = nn.ModuleList(Block(kind, batch_first, self.tape, str(i)) for i in range(2))
        self.head = nn.Linear(8, 3)
        outer = [f"blocks.{i}.outer.weight" for i in range(2)]
        self.places = tuple(behind(f"blocks.{i}.inner", str(i), 16, consumer=outer[i]) for i in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.out(x.mean(1 - self.sample_dim))


class Recurrent(Network):
    """A recurrent layer (torch's own where it can rectify so, else a cell) and a dense layer on its last state."""

    shapes = ((STEPS, 5),)

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.act = kind.module(HIDDEN)
        self.dense = nn.Linear(HIDDEN, 12)
        self.dense_act = kind.module(12)
        self.head = nn.Linear(12, 3)
        dense = behind("dense", "dense", 12, consumer="head.weight")
        self.places = (self._make_cell(), dense)

    def _make_cell(self) -> Place:
        if self.kind.name == "ReLU":
            self.rnn = nn.RNN(5, HIDDEN, nonlinearity="relu", batch_first=True)
            nn.init.orthogonal_(self.get_parameter("rnn.weight_hh_l0"), 0.4)
            weights = ("rnn.weight_ih_l0", "rnn.weight_hh_l0")
            biases = ("rnn.bias_ih_l0", "rnn.bias_hh_l0")
            return Place("cell", HIDDEN, weights, biases[0], (*weights, *biases))
        self.inner = nn.Linear(5, HIDDEN)
        self.recurrent = nn.Linear(HIDDEN, HIDDEN, bias=False)
        nn.init.orthogonal_(self.recurrent.weight, 0.4)
        return behind("inner", "cell", HIDDEN, recurrent="recurrent")

    def forward(self, x: Tensor) -> Tensor:
        h = self._torchs_own(x) if self.kind.name == "ReLU" else self._cell(x)
        z = self.tape.before("dense", self.dense(h))
        return self.out(self.tape.after("dense", self.dense_act(z)))

    def _torchs_own(self, x: Tensor) -> Tensor:
        h, _ = self.rnn(x)
        if self.tape.wants("cell"):  # the layer does not show its pre-activations: work them out from its states
            from_input, from_state, *biases = self.rnn.all_weights[0]
            previous = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], dim=1)
            z = F.linear(x, from_input, biases[0]) + F.linear(previous, from_state, biases[1])
            self.tape.before("cell", z, 0, 2)
            self.tape.after("cell", h, 0, 2)
        last: Tensor = h[:, -1]
        return last

    def _cell(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), HIDDEN)
        for t in range(x.shape[1]):
            z = self.tape.before("cell", self.inner(x[:, t]) + self.recurrent(h))
            h = self.tape.after("cell", self.act(z))
        return h
