"""The course of one pass: every call of a torch function, in order, and which of them are calls of sites.

Must be strict: a pass that differs from the known one in a single call, parameter, constant or shape has strayed, and
what it showed is forgotten. What is compared is only what a call says of itself, never an element of a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Constant = (bool, int, float, complex, str, type(None), type(...), torch.dtype, torch.device, torch.layout)
"""Kinds of arguments that are compared by value; what is neither one of them nor a tensor must be the same object."""

Check = Callable[[Any], bool]


class Arguments:
    """What the arguments of one call must be: the same parameters and constants, tensors of the same shapes.

    Args:
        args, kwargs: of the call as it was seen.
        owned: the model's own parameters and buffers, by their identity.
    """

    def __init__(self, args: Sequence[Any], kwargs: Mapping[str, Any], owned: Mapping[int, Tensor]) -> None:
        self._count, self._names, self._owned = len(args), tuple(kwargs), owned
        self._same: list[tuple[int, Any]] = []
        self._shapes: list[tuple[int, Any, Any]] = []
        self._equal: list[tuple[int, Any]] = []
        self._nested: list[tuple[int, Check]] = []
        for place, value in enumerate((*args, *kwargs.values())):
            if isinstance(value, Tensor) and id(value) not in owned:
                self._shapes.append((place, type(value), value.shape))
            elif isinstance(value, Constant):
                self._equal.append((place, value))
            elif isinstance(value, (tuple, list, slice)):
                self._nested.append((place, _check_of(value, owned)))
            else:
                self._same.append((place, value))

    def fit(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> bool:
        """Whether another call's arguments are that."""
        if len(args) != self._count:
            return False
        if kwargs or self._names:
            if not kwargs or tuple(kwargs) != self._names:
                return False
            args = (*args, *kwargs.values())
        for place, same in self._same:
            if args[place] is not same:
                return False
        for place, kind, shape in self._shapes:
            given = args[place]
            if given.__class__ is not kind or given.shape != shape or id(given) in self._owned:
                return False
        for place, constant in self._equal:
            given = args[place]
            if given is not constant and (given.__class__ is not constant.__class__ or given != constant):
                return False
        return all(check(args[place]) for place, check in self._nested)


def _check_of(value: Any, owned: Mapping[int, Tensor]) -> Check:
    """The same of one value inside another."""
    kind: Any = type(value)
    if isinstance(value, Tensor) and id(value) not in owned:
        shape = value.shape
        return lambda given: given.__class__ is kind and given.shape == shape and id(given) not in owned
    if isinstance(value, Constant):
        return lambda given: given is value or (given.__class__ is kind and bool(given == value))
    if isinstance(value, slice):
        inside = _check_of((value.start, value.stop, value.step), owned)
        return lambda given: given.__class__ is slice and inside((given.start, given.stop, given.step))
    if isinstance(value, (tuple, list)):
        checks = [_check_of(item, owned) for item in value]
        return lambda given: (
            given.__class__ is kind
            and len(given) == len(checks)
            and all(check(item) for check, item in zip(checks, given, strict=True))
        )
    return lambda given: given is value


class Intake(Protocol):
    """Takes in what one call of a site shows, on any batch of its form; raises where it is of another."""

    def take(self, pre_activation: Tensor) -> None:
        """Take in a pre-activation, before it can be overwritten."""

    def follow(self, output: Tensor) -> None:
        """Take in the output of a smooth activation."""


@dataclass(eq=False, slots=True)
class ExpectedCall:
    """One call of a torch function.

    Attributes:
        function: torch's.
        arguments: what they must be.
        intake: where it is the call of a site.
        position: which argument is the pre-activation then.
        smooth: whether the output is taken in as well.
    """

    function: Any
    arguments: Arguments
    intake: Intake | None = None
    position: int = 0
    smooth: bool = False


class Following(TorchFunctionMode):
    """Goes along with one pass, and has its sites taken in as long as it keeps to its course.

    Args:
        course: every call that is expected.
    """

    def __init__(self, course: Sequence[ExpectedCall]) -> None:
        super().__init__()
        self._course = course
        self._place = 0
        self._strayed = False

    @property
    def completed(self) -> bool:
        """Whether the pass was the known one, to its end."""
        return not self._strayed and self._place == len(self._course)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        place = self._place
        if self._strayed or place >= len(self._course):
            self._strayed = True
            return func(*args, **(kwargs or {}))
        self._place = place + 1
        call = self._course[place]
        known = call.function
        if (func is not known and func != known) or not call.arguments.fit(args, kwargs):
            self._strayed = True
        elif call.intake is not None:
            return self._at_site(call, call.intake, func, args, kwargs or {})
        return func(*args, **kwargs) if kwargs else func(*args)

    def _at_site(self, call: ExpectedCall, intake: Intake, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        try:
            intake.take(args[call.position])
        except Exception:  # the tracer is to say what is wrong with it, if anything is
            self._strayed = True
        output = func(*args, **kwargs)
        if call.smooth and not self._strayed:
            try:
                intake.follow(output)
            except Exception:
                self._strayed = True
        return output
