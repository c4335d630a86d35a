"""A row of the table claims all that brute force finds, and a row that claims something false does not pass.

The other tests hold that what is claimed is true; these, that what is true along whole axes of the results is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.structure.operators import test_operators as brute
from tests.structure.operators.cases import CASES, SAMPLES, UNITS
from tests.structure.operators.running import ALL, Ran, moved_when, ran
from torch import Tensor

from leaky.structure.axes import Axes, has, plain
from leaky.structure.operators import OPERATORS
from leaky.structure.operators.operator import Operator


def entries_of(moved: list[Tensor], dim: int) -> list[list[int]]:
    """For each disturbance, the entries along an axis of the result that it reaches."""
    along = [each.movedim(dim, 0).reshape(each.shape[dim], -1).any(1) for each in moved]
    return [torch.nonzero(each).flatten().tolist() for each in along]


def apart(reached: list[list[int]], size: int) -> bool:
    """Whether each disturbance reaches an entry of its own, and together they reach all."""
    return all(len(each) == 1 for each in reached) and sorted(i for each in reached for i in each) == list(range(size))


BESIDE = ("normalises", "mixes", "takes")
"""Of these the first result is the value; statistics beside it tell nothing."""


GIVES_UP = {"addbmm", "_pack_padded_sequence"}
"""Rows that claim nothing of their results' axes."""


def values_of(run: Ran, name: str) -> list[tuple[int, Axes]]:
    """The results that count, with their axes."""
    return [(kind, axes) for kind, axes in enumerate(run.axes) if kind == 0 or OPERATORS[name].numbers not in BESIDE]


def disturbed(run: Ran, dim: int, size: int, kind: int) -> list[Tensor]:
    return [moved_when(entry, dim, run, kind) for entry in range(size)]


@pytest.mark.parametrize(("name", "index"), [case for case in ALL if case[0] not in GIVES_UP])
def test_an_axis_along_which_samples_lie_apart_is_claimed(name: str, index: int) -> None:
    run = ran(name, index)
    for kind, axes in values_of(run, name):
        moved = disturbed(run, 0, SAMPLES, kind)
        for dim, axis in enumerate(axes):
            reached = entries_of(moved, dim)
            if apart(reached, run.before[kind].shape[dim]):
                assert has(axis, "sample"), f"axis {dim} of result {kind} holds the samples"
                if reached == [[i] for i in range(SAMPLES)]:
                    assert axis[0] == run.start[0][0], "in their order"


@pytest.mark.parametrize(("name", "index"), [c for c in ALL if not CASES[c[0]][c[1]].indices])
def test_an_axis_along_which_units_lie_apart_is_claimed(name: str, index: int) -> None:
    run = ran(name, index)
    for kind, axes in values_of(run, name):
        moved = disturbed(run, 1, UNITS, kind)
        for dim, axis in enumerate(axes):
            if apart(entries_of(moved, dim), run.before[kind].shape[dim]):
                assert has(axis, "unit"), f"axis {dim} of result {kind} holds the units"


@pytest.mark.parametrize(("name", "index"), [c for c in ALL if OPERATORS[c[0]].numbers == "takes"])
def test_the_axis_of_the_units_that_a_weight_makes_is_claimed(name: str, index: int) -> None:
    """An element of the weight reaches one entry along it, on every sample; along no other axis that is claimed."""
    run = ran(name, index)
    weight = run.model.weight
    if weight is None or weight.ndim < 2 or name in GIVES_UP:
        return
    moved = []
    with torch.no_grad():
        for entry in range(weight.numel()):
            flat = weight.reshape(-1)
            kept = float(flat[entry])
            flat[entry] = kept + 1.0
            moved.append(run.values(run.x)[0] != run.before[0])
            flat[entry] = kept
    axes = run.axes[0]
    for dim, axis in enumerate(axes):
        reached = [each for each in entries_of(moved, dim) if each]
        own = all(len(each) == 1 for each in reached) and len({each[0] for each in reached}) > 1
        assert own == has(axis, "unit") or (own and has(axis, "sample"))
    made = [f for axis in axes for f in axis if f.role == "unit"]
    assert made[0].whole == math.prod(f.size for f in made)


CLAIMS = [
    brute.test_a_sample_axis_holds_samples,
    brute.test_a_unit_axis_holds_units,
    test_an_axis_along_which_samples_lie_apart_is_claimed,
    test_an_axis_along_which_units_lie_apart_is_claimed,
]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Puts a false row into the table; what was traced by true rows is forgotten before and after."""

    def put(row: Operator) -> None:
        ran.cache_clear()
        monkeypatch.setitem(OPERATORS, row.name, row)

    yield put
    monkeypatch.undo()
    ran.cache_clear()


def is_caught(name: str, tests: list[Any]) -> bool:
    """Whether one of the tests fails on a case of the operator."""
    for index in range(len(CASES[name])):
        for test in tests:
            try:
                test(name, index)
            except AssertionError:
                return True
    return False


def tells(name: str) -> bool:
    """Whether brute force sees anything: not of results that do not move with single values, and not of places."""
    return name not in GIVES_UP and not any(case.silent or case.indices for case in CASES[name])


def one_of_each(names: list[str]) -> list[str]:
    """Of rows that share their rule and their traits, the first."""
    found: dict[Any, str] = {}
    for name in names:
        row = OPERATORS[name]
        found.setdefault((row.axes, row.numbers, row.signal, row.spatial), name)
    return list(found.values())


TOLD = one_of_each([name for name in CASES if tells(name)])


@pytest.mark.parametrize("name", TOLD)
def test_a_row_that_forgets_all_axes_is_caught(name: str, rows: Any) -> None:
    rows(replace(OPERATORS[name], axes=lambda call: [plain(shape) for shape in call.shapes]))
    assert is_caught(name, CLAIMS)


@pytest.mark.parametrize("name", [name for name in TOLD if len(ran(name, 0).axes[0]) > 1])
def test_a_row_that_turns_the_axes_around_is_caught(name: str, rows: Any) -> None:
    rule = OPERATORS[name].axes
    rows(replace(OPERATORS[name], axes=lambda call: [axes[::-1] for axes in rule(call)]))
    assert is_caught(name, CLAIMS)


@pytest.mark.parametrize("name", [n for n in TOLD if OPERATORS[n].numbers not in ("takes", "mixes")])
def test_a_row_that_gives_up_numbers_is_caught(name: str, rows: Any) -> None:
    rows(replace(OPERATORS[name], numbers="mixes"))
    assert is_caught(name, [brute.test_numbers_are_where_their_units_are])


@pytest.mark.parametrize("name", ["_softmax", "cumsum", "sort", "native_layer_norm", "native_group_norm"])
def test_a_row_that_keeps_numbers_of_what_it_mixes_is_caught(name: str, rows: Any) -> None:
    assert OPERATORS[name].numbers == "mixes"
    rows(replace(OPERATORS[name], numbers="joins"))
    assert is_caught(name, [brute.test_numbers_are_where_their_units_are])


@pytest.mark.parametrize("name", ["relu", "tanh", "abs", "mul", "add", "sum", "prod", "softplus", "_softmax", "cumsum"])
def test_a_row_that_says_that_moments_stay_is_caught(name: str, rows: Any) -> None:
    assert OPERATORS[name].signal != "same"
    rows(replace(OPERATORS[name], signal="same"))
    assert is_caught(name, [brute.test_moments_and_correlations_of_what_keeps_them])
