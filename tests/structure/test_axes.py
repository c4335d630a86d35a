"""What each axis stands for, held against labels that travel with the numbers themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaky.structure import axes as ax

SAMPLES, UNITS = 6, 12


def labelled(shape: tuple[int, ...], sample_dim: int, unit_dim: int) -> tuple[np.ndarray, np.ndarray, ax.Axes]:
    """For every element the sample and the unit that it belongs to, and the axes that say so."""
    indices = np.indices(shape)
    axes = ax.of_input(shape, sample_dim)
    return indices[sample_dim], indices[unit_dim], ax.replaced(axes, unit_dim, (ax.factor(shape[unit_dim], "unit"),))


def assert_layout_is_right(view: ax.Layout, sample: np.ndarray, unit: np.ndarray) -> None:
    """Every element of (samples, units, positions) has its own row's sample and its own column's unit."""

    def seen(labels: np.ndarray) -> np.ndarray:
        split = labels.reshape(view.shape).transpose(view.order)
        return split.reshape(view.samples, view.units, view.positions)

    rows, columns = seen(sample), seen(unit)
    assert (rows == rows[:, :1, :1]).all()
    assert (columns == columns[:1, :, :1]).all()
    assert len(np.unique(rows[:, 0, 0])) == view.samples == SAMPLES
    assert len(np.unique(columns[0, :, 0])) == view.units == UNITS


@st.composite
def journeys(draw: st.DrawFn) -> list[tuple[str, tuple[int, ...]]]:
    """Permutations and row-major reshapes that only join and split axes."""
    shape = list(draw(st.permutations([SAMPLES, UNITS, 5, 4])))
    steps: list[tuple[str, tuple[int, ...]]] = [("start", tuple(shape))]
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["permute", "join", "split"]))
        if kind == "permute":
            order = tuple(draw(st.permutations(range(len(shape)))))
            shape = [shape[dim] for dim in order]
            steps.append(("permute", order))
            continue
        dim = draw(st.integers(0, len(shape) - 1))
        if kind == "join" and dim + 1 < len(shape):
            shape[dim : dim + 2] = [shape[dim] * shape[dim + 1]]
        elif kind == "split":
            divisor = draw(st.sampled_from([d for d in range(1, shape[dim] + 1) if shape[dim] % d == 0]))
            shape[dim : dim + 1] = [divisor, shape[dim] // divisor]
        steps.append(("reshape", tuple(shape)))
    return steps


@settings(max_examples=300, deadline=None, derandomize=True)
@given(journeys())
def test_layout_follows_any_journey_or_admits_that_it_lost_the_way(steps: list[tuple[str, tuple[int, ...]]]) -> None:
    shape = steps[0][1]
    sample, unit, axes = labelled(shape, shape.index(SAMPLES), shape.index(UNITS))
    for kind, argument in steps[1:]:
        if kind == "permute":
            sample, unit, axes = sample.transpose(argument), unit.transpose(argument), ax.permute(axes, argument)
        else:
            sample, unit, axes = sample.reshape(argument), unit.reshape(argument), ax.reshape(axes, argument)
    view = ax.layout(axes, sample.shape)
    followed = ax.find(axes, "unit") is not None and view is not None and view.sample_dim is not None
    if followed:
        assert_layout_is_right(view, sample, unit)


@pytest.mark.parametrize(
    ("before", "after"),
    [((6, 5, 12), (30, 12)), ((6, 12, 4, 5), (6, 12, 20)), ((6, 5, 12), (6, 5, 3, 4)), ((6, 1, 12), (6, 12))],
    ids=["flattened time", "flattened pixels", "heads", "squeezed"],
)
def test_common_reshapes_lose_nothing(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    sample, unit, axes = labelled(before, 0, before.index(UNITS))
    view = ax.layout(ax.reshape(axes, after), after)
    assert view is not None
    assert view.sample_dim == 0
    assert_layout_is_right(view, sample.reshape(after), unit.reshape(after))


def test_the_comparison_can_fail() -> None:
    sample, unit, axes = labelled((6, 12, 5), 0, 1)
    view = ax.layout(axes, (6, 12, 5))
    assert view is not None
    with pytest.raises(AssertionError):
        assert_layout_is_right(view, sample, np.roll(unit.reshape(-1), 1).reshape(unit.shape))


def test_a_part_of_the_samples_is_not_taken_for_all_of_them() -> None:
    _, _, axes = labelled((6, 12), 0, 1)
    halved = ax.reshape(axes, (2, 3, 12))[1:]
    view = ax.layout(halved, (3, 12))
    assert view is not None
    assert (view.sample_dim, view.samples, view.units) == (None, 1, 12)


def test_two_unit_axes_cannot_be_told_apart() -> None:
    axes = ((ax.factor(6, "sample"),), (ax.factor(3, "unit"),), (ax.factor(4, "unit"),))
    assert ax.layout(axes, (6, 3, 4)) is None


def test_without_weights_the_one_other_axis_holds_the_units() -> None:
    view = ax.layout(ax.of_input((6, 12), 0), (6, 12))
    assert view is not None
    assert (view.samples, view.units) == (6, 12)
    assert ax.layout(ax.of_input((6, 5, 12), 0), (6, 5, 12)) is None


@pytest.mark.parametrize("shape", [(0, 12), (6, 0, 5), (1, 1, 1), ()], ids=str)
def test_degenerate_shapes_keep_their_rank(shape: tuple[int, ...]) -> None:
    axes = ax.of_input(shape, 0)
    assert len(axes) == len(shape)
    assert math.prod(f.size for axis in ax.reshape(axes, (*shape, 1)) for f in axis) == math.prod(shape)
