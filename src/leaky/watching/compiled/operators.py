"""The operators that a compiled graph calls, and whom they tell.

A graph holds nothing that belongs to one watch, so that it serves steps that are observed and those that are not: an
operator is given a number, and what it stands for is looked up when it runs. Those of the forward pass claim to write
to one tensor, so that no compiler drops one or puts two of them in another order. That of the backward pass gives a
zero which is subtracted from the gradient, and that leaves every number as it is, −0 too.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

TOKEN = torch.zeros((), dtype=torch.int64)
"""What the operators of a forward pass claim to write to."""


class Passage(Protocol):
    """The passes through one module."""

    def begin(self, inputs: list[Tensor], with_gradient: bool) -> int:
        """A pass begins; its number, −1 where it is not observed."""

    def end(self, values: list[Tensor], numbers: list[int]) -> None:
        """It has ended: take in pre-activations, of the calls of these numbers, and outputs, of their −numbers."""


class Receiver(Protocol):
    """The place of one call of a site."""

    def take(self, z: Tensor) -> int:
        """Take in a pre-activation; the number of the pass, −1 where it is not observed."""

    def follow(self, output: Tensor) -> None:
        """Take in the output of a smooth activation."""

    def arrive(self, gradient: Tensor, value: Tensor, of_pass: int) -> None:
        """Take in the gradient of the output."""


PASSAGES: dict[int, Passage] = {}
MEETINGS: dict[int, Receiver] = {}


def _begin(inputs: list[Tensor], token: Tensor, number: int, with_gradient: bool) -> Tensor:
    passage = PASSAGES.get(number)
    return torch.scalar_tensor(-1 if passage is None else passage.begin(inputs, with_gradient), dtype=torch.int64)


def _end(token: Tensor, number: int, values: list[Tensor], numbers: list[int]) -> None:
    passage = PASSAGES.get(number)
    if passage is not None:
        passage.end(values, numbers)


def _take(z: Tensor, token: Tensor, number: int) -> Tensor:
    meeting = MEETINGS.get(number)
    return torch.scalar_tensor(-1 if meeting is None else meeting.take(z), dtype=torch.int64)


def _follow(output: Tensor, token: Tensor, number: int) -> None:
    meeting = MEETINGS.get(number)
    if meeting is not None:
        meeting.follow(output)


def _arrive(gradient: Tensor, value: Tensor, of_pass: Tensor, number: int) -> Tensor:
    meeting, which = MEETINGS.get(number), int(of_pass)
    if meeting is not None and which >= 0:
        meeting.arrive(gradient, value, which)
    return torch.scalar_tensor(0.0, dtype=gradient.dtype, device=gradient.device)


def _nothing(*_: object) -> None:
    """What is known of an operator without running it: it gives nothing."""


def _zero(gradient: Tensor, value: Tensor, of_pass: Tensor, number: int) -> Tensor:
    return gradient.new_empty(())


def _scalar(*_: object) -> Tensor:
    return torch.empty((), dtype=torch.int64)


_LIBRARY: Any = torch.library.Library("leaky", "FRAGMENT")  # type: ignore[no-untyped-call]
for _schema, _run, _shape in (
    ("begin(Tensor[] inputs, Tensor(a!) token, int number, bool with_gradient) -> Tensor", _begin, _scalar),
    ("end(Tensor(a!) token, int number, Tensor[] values, int[] numbers) -> ()", _end, _nothing),
    ("take(Tensor z, Tensor(a!) token, int number) -> Tensor", _take, _scalar),
    ("follow(Tensor output, Tensor(a!) token, int number) -> ()", _follow, _nothing),
    (
        "arrive(Tensor gradient, Tensor value, Tensor of_pass, int number) -> Tensor",
        _arrive,
        _zero,
    ),
):
    _name = _schema.partition("(")[0]
    _LIBRARY.define(_schema, tags=(torch.Tag.flexible_layout,))
    _LIBRARY.impl(_name, _run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"leaky::{_name}", _shape, lib=_LIBRARY)

begin = torch.ops.leaky.begin.default
end = torch.ops.leaky.end.default
take = torch.ops.leaky.take.default
follow = torch.ops.leaky.follow.default
arrive = torch.ops.leaky.arrive.default
