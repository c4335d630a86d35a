"""What each tensor of a pass is known as: where it comes from, and what holds a value that was written into a part."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from leaky.structure.axes import Axes, factor, find, plain
from leaky.structure.graph import Call, Node
from leaky.structure.values import Values, laid_over

SAMPLES = 6
COPY = torch.ops.aten.copy_.default
SLICE = torch.ops.aten.slice.Tensor


class Model(nn.Module):
    """Holds a tensor in each of the ways."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(SAMPLES, 3))
        self.stack = nn.Parameter(torch.randn(2, SAMPLES, 3))
        self.register_buffer("seen", torch.randn(SAMPLES, 3))
        self.plain, self.listed = torch.randn(SAMPLES, 3), [torch.randn(SAMPLES, 3)]
        self.named = {"one": torch.randn(SAMPLES, 3)}


def values_of(model: nn.Module) -> tuple[Values, Callable[..., Node]]:
    """The values of a pass on SAMPLES samples, and what makes a node of data."""
    numbers = itertools.count()
    values = Values(model, lambda: next(numbers))

    def data(*shape: int) -> Node:
        axes: Axes = ((factor(shape[0], "sample"),), *plain(shape[1:]))
        return Node(next(numbers), "input", "", shape, axes)

    values.expect_samples(data(SAMPLES, 3))
    return values, data


HELD: dict[str, Callable[[Model], Tensor]] = {
    "weight": lambda model: model.weight,
    "stack": lambda model: model.stack,
    "seen": lambda model: model.seen,
    "plain": lambda model: model.plain,
    "listed": lambda model: model.listed[0],
    "named": lambda model: model.named["one"],
}


@pytest.mark.parametrize("place", HELD)
def test_what_the_model_holds_is_a_constant_wherever_it_holds_it(place: str) -> None:
    model = Model()
    values, _ = values_of(model)
    node = values.node(HELD[place](model))
    learned, named = place in ("weight", "stack"), place in ("weight", "stack", "seen")
    assert (node.operation, node.from_data, node.lost, node.learned) == ("weight", False, False, learned)
    assert (node.weights == (place,)) == named
    assert find(node.axes, "sample") is None  # as many rows as samples, by chance
    assert node.is_stack == (place == "stack")
    assert values.node(HELD[place](model)) is node


def test_what_nobody_made_has_lost_its_origin_and_its_rows_are_the_samples_if_they_are_as_many() -> None:
    values, _ = values_of(Model())
    for shape, dim in [((SAMPLES, 3), 0), ((SAMPLES, 3, 4), 0), ((3, SAMPLES), None), ((SAMPLES,), None)]:
        node = values.node(torch.zeros(shape))
        assert (node.lost, node.from_data, find(node.axes, "sample")) == (True, False, dim)
    names = [values.node(torch.zeros(2)).weights for _ in range(2)]
    assert names[0] != names[1]
    values.clear()
    assert find(values.node(torch.zeros(SAMPLES, 3)).axes, "sample") is None  # of the next pass nothing is known yet


@pytest.mark.parametrize(
    ("way", "same"),
    [
        (lambda h: h.data, True),
        (lambda h: torch.from_numpy(h.numpy()), True),
        (lambda h: torch.from_dlpack(h), True),
        (lambda h: torch.from_numpy(h.numpy().copy()), False),
        (lambda h: torch.from_numpy(h.numpy().T), False),
        (lambda h: torch.from_numpy(h.numpy()[1:]), False),
        (lambda h: torch.from_numpy(h.numpy().view(np.int32)), False),
    ],
)
def test_what_lies_in_the_same_memory_element_for_element_is_the_same_value(
    way: Callable[[Tensor], Tensor], same: bool
) -> None:
    values, data = values_of(Model())
    h = torch.randn(SAMPLES, 3)
    node = data(SAMPLES, 3)
    values.put(h, node)
    other = values.node(way(h))
    assert (other is node) == same
    assert other.lost != same


def test_a_constant_that_numpy_has_written_to_is_one_no_more() -> None:
    values, _ = values_of(Model())
    buffer, untouched = torch.zeros(SAMPLES, 3), torch.zeros(SAMPLES, 3)
    for tensor in (buffer, untouched):
        values.put(tensor, Node(7, "zeros", "", (SAMPLES, 3), plain((SAMPLES, 3)), from_data=False))
    buffer.numpy()[2, 1] = 1.0
    assert (values.node(untouched).lost, values.node(buffer).lost) == (False, True)
    assert find(values.node(buffer).axes, "sample") == 0


def part_of(base: Tensor, cuts: list[tuple[int, int]]) -> Tensor:
    for dim, (start, length) in enumerate(cuts):
        base = base.narrow(dim, start, length)
    return base


SIZES = (4, 3, 5)
CUTS = st.tuples(
    *(
        st.tuples(st.integers(0, size - 1), st.integers(1, size)).filter(lambda cut, size=size: sum(cut) <= size)
        for size in SIZES
    )
)
"""Where a part begins along each axis, and its length."""


@settings(max_examples=60, deadline=None)
@given(CUTS, st.lists(CUTS, min_size=1, max_size=4))
def test_whatever_a_value_that_is_written_into_a_part_reaches_is_told_to_hold_it(
    written: list[tuple[int, int]], others: list[list[tuple[int, int]]]
) -> None:
    values, _ = values_of(Model())
    buffer = torch.zeros(SIZES)
    views = [part_of(buffer, cuts) for cuts in (*others, written)]
    for tensor in (buffer, *views):
        values.put(tensor, Node(0, "zeros", "", tuple(tensor.shape), plain(tensor.shape), from_data=False))
    for view in views:
        values.share(SLICE, [buffer], [view], [])
    target, before = views[-1], {id(view): values.get(view) for view in (buffer, *views)}
    target.fill_(1.0)
    node = Node(90, "copy", "", tuple(target.shape), plain(target.shape))
    values.put(target, node)
    made = values.share(COPY, [target], [target], [node])
    told = {id(view) for view in (buffer, *views[:-1]) if values.get(view) is not before[id(view)]}
    holders = {id(view) for view in (buffer, *views[:-1]) if view.any()}
    assert holders <= told
    assert len(made) == len(told)
    assert all(each.from_data and node.index in each.inputs for each in made)
    apart = {id(v) for v in views[:-1] if reach(v)[1] < reach(target)[0] or reach(target)[1] < reach(v)[0]}
    assert not apart & told


@pytest.mark.parametrize(("columns", "told"), [((0, 2), False), ((4, 2), False), ((1, 2), True), ((3, 3), True)])
def test_what_is_written_into_columns_is_not_in_those_beside_them(columns: tuple[int, int], told: bool) -> None:
    """As a gate that a recurrent cell computes in place lies beside the next one."""
    values, _ = values_of(Model())
    rows = torch.zeros(SAMPLES, 6)
    written, beside = rows.narrow(1, 2, 2), rows.narrow(1, *columns)
    for tensor in (rows, written, beside):
        values.put(tensor, Node(0, "zeros", "", tuple(tensor.shape), plain(tensor.shape), from_data=False))
    for view in (written, beside):
        values.share(SLICE, [rows], [view], [])
    before = values.get(beside)
    values.share(COPY, [written], [written], [Node(90, "copy", "", (SAMPLES, 2), plain((SAMPLES, 2)))])
    assert (values.get(beside) is not before) == told


def reach(view: Tensor) -> tuple[int, int]:
    """The first and the last of the buffer's elements in a part of it."""
    places = torch.arange(math.prod(SIZES)).as_strided(view.shape, view.stride(), view.storage_offset())
    return int(places.min()), int(places.max())


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(3)), CUTS, st.integers(0, 2))
def test_the_samples_of_a_part_lie_along_the_axis_of_the_buffer_that_they_go_along(
    order: list[int], cuts: list[tuple[int, int]], dim: int
) -> None:
    buffer = torch.arange(60).reshape(SIZES)
    part = part_of(buffer, cuts).permute(order)
    assume(part.shape[dim] > 1)
    first, second = (int(part.select(dim, i).reshape(-1)[0]) for i in (0, 1))
    steps = np.subtract(np.unravel_index(second, SIZES), np.unravel_index(first, SIZES))
    (along,) = np.flatnonzero(steps)  # the axis of the buffer on which the second entry stands one further
    axes = plain(part.shape)
    given_axes = (*axes[:dim], (factor(part.shape[dim], "sample"),), *axes[dim + 1 :])
    laid = laid_over(plain(SIZES), SIZES, buffer.stride(), given_axes, tuple(part.shape), part.stride())
    assert [d for d, axis in enumerate(laid) if any(f.role == "sample" for f in axis)] == [along]
    assert laid[along] == given_axes[dim] or part.shape[dim] != SIZES[along]
    assert [axis[0].size for axis in laid] == list(SIZES)


NUMBERS = [
    (Call("full", [(SAMPLES, 2), 0.5], {}, [(SAMPLES, 2)], ("size", "fill_value")), True),
    (Call("zeros", [(SAMPLES, 2)], {}, [(SAMPLES, 2)], ("size",)), False),
    (Call("fill", [Node(1, "zeros", "", (2,), plain((2,)), from_data=False), 3.0], {}, [(2,)]), True),
    (Call("mul", [Node(1, "ones", "", (2,), plain((2,)), from_data=False), 3.0], {}, [(2,)]), True),
    (Call("relu", [Node(1, "ones", "", (2,), plain((2,)), from_data=False)], {}, [(2,)]), False),
]


@pytest.mark.parametrize(("call", "holds"), NUMBERS, ids=[call.name for call, _ in NUMBERS])
@pytest.mark.parametrize("leaked", [True, False])
def test_what_may_hold_numbers_of_the_data_is_lost_once_such_numbers_have_gone_out(
    call: Call, holds: bool, leaked: bool
) -> None:
    values, _ = values_of(Model())
    values.leaked = leaked
    made = Node(5, f"{call.name}", "", call.shapes[0], plain(call.shapes[0]), from_data=False)
    assert values.told(made, None, call).lost == (holds and leaked)
    data = Node(6, f"{call.name}", "", call.shapes[0], plain(call.shapes[0]))
    assert not values.told(data, None, call).lost
