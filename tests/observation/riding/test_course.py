"""The course of a pass, against descriptions of its calls that are compared as plain text."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from leaky.observation.riding.course import Arguments, ExpectedCall, Following

OWN = {"weight": torch.zeros(2, 3), "other weight": torch.zeros(2, 3)}
OBJECTS = [object(), object()]
CONSTANTS: list[Any] = [True, False, 1, 0, 1.0, 2, "mean", "", None, ..., torch.float32, torch.float64, 1 + 0j]


def drawn(draw: random.Random, depth: int = 2) -> Any:
    """A value as torch's functions get them."""
    kind = draw.randrange(8 if depth else 4)
    if kind == 0:
        return torch.ones(draw.choice([(2, 3), (3, 2), (2,), ()]))
    if kind == 1:
        return OWN[draw.choice(list(OWN))]
    if kind == 2:
        return draw.choice(OBJECTS)
    if kind == 6:
        return slice(*(draw.choice([None, 0, 1, torch.ones(())]) for _ in range(3)))
    if kind in (4, 5, 7):
        return draw.choice([list, tuple])(drawn(draw, depth - 1) for _ in range(draw.randrange(3)))
    return draw.choice(CONSTANTS)


def rebuilt(value: Any) -> Any:
    """The same anew, as the next pass makes it."""
    if isinstance(value, Tensor) and not any(value is each for each in OWN.values()):
        return value + 1.0
    if isinstance(value, (list, tuple)):
        return type(value)(map(rebuilt, value))
    return slice(*map(rebuilt, (value.start, value.stop, value.step))) if isinstance(value, slice) else value


def described(value: Any) -> str:
    """All that a call's argument is compared by, in words."""
    if isinstance(value, Tensor):
        own = [name for name, each in OWN.items() if each is value]
        return f"own {own[0]}" if own else f"tensor of {tuple(value.shape)}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({'; '.join(map(described, value))})"
    if isinstance(value, slice):
        return f"slice {described((value.start, value.stop, value.step))}"
    if any(value is each for each in OBJECTS):
        return f"object {OBJECTS.index(value)}"
    if isinstance(value, type({}.items())):
        return described(list(value))
    return f"{type(value).__name__} {value!r}"


def test_a_call_fits_if_and_only_if_its_description_is_the_same() -> None:
    owned = {id(value): value for value in OWN.values()}
    draw = random.Random(0)
    met = {True: 0, False: 0}
    for _ in range(400):
        args = [drawn(draw) for _ in range(draw.randrange(4))]
        kwargs = {name: drawn(draw) for name in draw.sample(["dim", "out", "alpha"], draw.randrange(3))}
        known = Arguments(args, kwargs, owned)
        assert known.fit(args, kwargs)
        for _ in range(4):
            others, named = rebuilt(args), dict(zip(kwargs, rebuilt([*kwargs.values()]), strict=True))
            place = draw.randrange(len(args) + len(kwargs) + 2)
            if place < len(args):
                others[place] = drawn(draw)
            elif place < len(args) + len(kwargs):
                named[list(kwargs)[place - len(args)]] = drawn(draw)
            elif place == len(args) + len(kwargs):
                more = draw.random() < 0.5
                others, named = ([*others, drawn(draw)], named) if more else (others, named | {"more": drawn(draw)})
            same = described((others, named.items())) == described((args, kwargs.items()))
            assert known.fit(others, named) == same, described(
                (args, list(kwargs.items()), others, list(named.items()))
            )
            met[same] += 1
    assert min(met.values()) > 50  # both answers were asked for


def test_names_in_another_order_and_names_that_are_missing_do_not_fit() -> None:
    known = Arguments([1], {"dim": 0, "keepdim": True}, {})
    assert known.fit([1], {"dim": 0, "keepdim": True})
    assert not known.fit([1], {"keepdim": True, "dim": 0})
    assert not known.fit([1], {"dim": 0})
    assert not known.fit([1, 0, True], None)
    assert not Arguments([1], {}, {}).fit([1], {"dim": 0})


OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "twice": lambda x: torch.mul(x, 2.0),
    "thrice": lambda x: torch.mul(x, 3.0),
    "sum over rows": lambda x: torch.cumsum(x, 0),
    "sum over columns": lambda x: torch.cumsum(x, dim=1),
    "rectified": torch.relu,
    "leaky": lambda x: torch.nn.functional.leaky_relu(x, 0.1),
}
X = torch.linspace(-2, 2, 6).reshape(2, 3)


def run(program: Sequence[str], x: Tensor = X) -> Tensor:
    for name in program:
        x = OPERATIONS[name](x)
    return x


class Recording(TorchFunctionMode):
    """Every call of a torch function, as a course has it."""

    def __init__(self, takes: Callable[[Any], Any]) -> None:
        super().__init__()
        self.course: list[ExpectedCall] = []
        self._takes = takes

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        arguments = Arguments(args, kwargs or {}, {})
        self.course.append(ExpectedCall(func, arguments, self._takes(func), smooth=func is torch.cumsum))
        return func(*args, **(kwargs or {}))


class Taken:
    """What a site was shown."""

    def __init__(self, fails_on: str = "") -> None:
        self.seen: list[tuple[str, Tensor]] = []
        self._fails_on = fails_on

    def take(self, pre_activation: Tensor) -> None:
        self._add("before", pre_activation)

    def follow(self, output: Tensor) -> None:
        self._add("after", output)

    def _add(self, what: str, value: Tensor) -> None:
        if what == self._fails_on:
            raise ValueError("of another form")
        self.seen.append((what, value.clone()))


def recorded(program: Sequence[str], taken: Taken) -> list[ExpectedCall]:
    with Recording(lambda func: taken if func in (torch.relu, torch.cumsum) else None) as mode:
        run(program)
    return mode.course


def shown(program: Sequence[str]) -> list[tuple[str, Tensor]]:
    """What the sites of a program show, by running it step by step."""
    found, x = [], X
    for name in program:
        before, x = x, OPERATIONS[name](x)
        if name in ("rectified", "sum over rows", "sum over columns"):
            found.append(("before", before))
        if name.startswith("sum"):
            found.append(("after", x))
    return found


def test_a_pass_has_kept_to_its_course_if_and_only_if_the_programs_are_the_same() -> None:
    draw = random.Random(1)
    for _ in range(150):
        known = [draw.choice(list(OPERATIONS)) for _ in range(draw.randrange(1, 6))]
        other = list(known)
        if draw.random() < 0.7:
            place = draw.randrange(len(known))
            other[place:] = [draw.choice(list(OPERATIONS)) for _ in range(draw.randrange(len(known) - place + 2))]
        taken = Taken()
        with Following(recorded(known, taken)) as following:
            result = run(other)
        assert torch.equal(result, run(other))
        assert following.completed == (known == other)
        same = [a == b for a, b in zip(known, other, strict=False)]
        kept = known[: same.index(False) if False in same else len(same)]
        expected = shown(kept)
        assert [what for what, _ in taken.seen] == [what for what, _ in expected]
        assert all(torch.equal(a, b) for (_, a), (_, b) in zip(taken.seen, expected, strict=True))


def test_inputs_of_another_shape_have_strayed() -> None:
    program = ["twice", "rectified"]
    with Following(recorded(program, Taken())) as following:
        assert torch.equal(run(program, X.T), run(program, X.T))
    assert not following.completed


@pytest.mark.parametrize("fails_on", ["before", "after"])
def test_a_site_that_refuses_its_value_makes_the_pass_stray_and_leaves_the_result(fails_on: str) -> None:
    program = ["twice", "sum over rows", "rectified"]
    taken = Taken(fails_on)
    with Following(recorded(program, taken)) as following:
        assert torch.equal(run(program), run(program))
    assert not following.completed
    assert [what for what, _ in taken.seen] == ([] if fails_on == "before" else ["before"])
