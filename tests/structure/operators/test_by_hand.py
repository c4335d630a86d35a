"""Axes of results that depend on what else is known of the operands, worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from leaky.structure.axes import Axes, Role, factor
from leaky.structure.graph import Call, Members, Node, Production
from leaky.structure.operators import axes_of

ROLES: dict[str, Role] = {"s": "sample", "u": "unit", "-": "other"}


def value(roles: str, *shape: int, made_by: str = "") -> Node:
    """Data whose axes are samples (s), units (u) or positions (-)."""
    axes = tuple((factor(size, ROLES[role]),) if size > 1 else () for role, size in zip(roles, shape, strict=True))
    made = (Production(made_by, "linear"),) if made_by else ()
    return Node(hash((roles, shape, made_by)) % 10**6, "input", "", shape, axes, from_data=True, productions=made)


def weight(*shape: int, learned: bool = True) -> Node:
    axes = tuple((factor(size),) for size in shape)
    return Node(1, "weight", "", shape, axes, from_data=False, weights=("w",), learned=learned)


def told(axes: Axes) -> list[str]:
    """The factors of each axis: "s6", "u8/24" for 8 of 24 units, "-5" for positions, "k3" for the 3 largest units."""
    words = {
        "sample": "s{size}",
        "unit": "u{size}/{whole}",
        "other": "-{size}",
        "member": "m{size}",
        "slot": "k{size}",
        "copy": "c{size}",
    }
    return ["·".join(words[f.role].format(size=f.size, whole=f.whole) for f in axis) for axis in axes]


def result(name: str, *args: Any, shape: tuple[int, ...]) -> list[str]:
    names = ("tensors", "dim") if name in ("cat", "stack") else ("self", "other")
    return told(axes_of(Call(name, list(args), {}, [shape], names))[0])


X, LAST = value("su-", 6, 8, 1), value("s-u", 6, 5, 8)


@pytest.mark.parametrize(
    ("name", "operands", "shape", "expected"),
    [
        ("mul", (X, weight(8, 3)), (6, 8, 3), ["s6", "u8/24", "u3/24"]),
        ("mul", (weight(8, 3), X), (6, 8, 3), ["s6", "u8/24", "u3/24"]),
        ("mul", (X, weight(8, 3, learned=False)), (6, 8, 3), ["s6", "u8/8", "-3"]),
        ("mul", (value("su", 6, 8), weight(8)), (6, 8), ["s6", "u8/8"]),
        ("mul", (value("s-u", 6, 4, 8), weight(4, 8)), (6, 4, 8), ["s6", "u4/32", "u8/32"]),
        ("mul", (X, value("-", 3)), (6, 8, 3), ["s6", "u8/8", "-3"]),
        ("div", (X, weight(8, 3)), (6, 8, 3), ["s6", "u8/8", "-3"]),
        ("add", (value("s--", 6, 8, 1), weight(8, 3)), (6, 8, 3), ["s6", "u8/24", "u3/24"]),
        ("add", (X, weight(8, 3)), (6, 8, 3), ["s6", "u8/24", "u3/24"]),
        ("add", (LAST, weight(5, 8)), (6, 5, 8), ["s6", "-5", "u8/8"]),
        ("add", (value("s-", 6, 1), weight(3)), (6, 3), ["s6", "u3/3"]),
        ("add", (value("s-", 6, 1), weight(6, 3)), (6, 3), ["s6", "u3/3"]),
        ("add", (value("s--", 6, 4, 1), weight(1, 3)), (6, 4, 3), ["s6", "-4", "u3/3"]),
        ("add", (value("s-u", 6, 1, 8), weight(5, 8)), (6, 5, 8), ["s6", "-5", "u8/8"]),
        ("add", (value("s--u-", 6, 2, 4, 8, 1), weight(8, 3)), (6, 2, 4, 8, 3), ["s6", "-2", "-4", "u8/24", "u3/24"]),
        ("add", (value("s-", 6, 3), weight(3)), (6, 3), ["s6", "-3"]),
    ],
)
def test_a_learned_operand_with_an_axis_of_its_own_makes_units_of_its_elements(
    name: str, operands: tuple[Node, Node], shape: tuple[int, ...], expected: list[str]
) -> None:
    assert result(name, *operands, shape=shape) == expected


def slices(*shape: int) -> Node:
    """Matrices picked from a stack of weights, one for each sample."""
    axes = ((factor(shape[0], "sample"),), *((factor(size),) for size in shape[1:]))
    return Node(2, "index", "", shape, axes, weights=("w",), learned=True, members=Members("w", 4))


@pytest.mark.parametrize(
    ("left", "right", "shape", "expected"),
    [
        (value("-su", 3, 6, 8), weight(3, 8, 5), (3, 6, 5), ["u3/15", "s6", "u5/15"]),
        (value("-su", 3, 6, 8), weight(1, 8, 5), (3, 6, 5), ["-3", "s6", "u5/5"]),
        (value("s-u", 6, 4, 8), slices(6, 8, 5), (6, 4, 5), ["s6", "-4", "u5/5"]),
        (slices(6, 5, 8), value("su-", 6, 8, 4), (6, 5, 4), ["s6", "u5/5", "-4"]),
    ],
    ids=["members", "one member", "slices behind", "slices in front"],
)
def test_stacks_of_weights_make_units_of_each_member_and_slices_those_of_their_sample(
    left: Node, right: Node, shape: tuple[int, ...], expected: list[str]
) -> None:
    assert told(axes_of(Call("bmm", [left, right], {}, [shape], ("self", "mat2")))[0]) == expected


def test_members_that_are_folded_into_the_axis_of_the_samples_stay_apart_there() -> None:
    left = replace(
        value("su", 18, 8), shape=(18, 1, 8), axes=((factor(6, "sample"), factor(3)), (), (factor(8, "unit"),))
    )
    stack = replace(weight(18, 8, 5), axes=((factor(6), factor(3, "member")), (factor(8),), (factor(5),)))
    call = Call("bmm", [left, stack], {}, [(18, 1, 5)], ("self", "mat2"))
    assert told(axes_of(call)[0]) == ["s6·u3/15", "", "u5/15"]


def test_a_recurrent_layer_gives_its_output_at_every_step_and_its_last_states() -> None:
    shapes = [(7, 6, 5), (6, 5), (6, 5), (9,)]
    call = Call("mkldnn_rnn_layer", [value("-s-", 7, 6, 3), weight(20, 3)], {}, shapes, ("input", "weight0"))
    assert list(map(told, axes_of(call))) == [["-7", "s6", "u5/5"], ["s6", "u5/5"], ["s6", "u5/5"], ["-9"]]


def test_attention_has_the_places_of_the_queries_and_the_features_of_the_values() -> None:
    query, key, other = value("s--u", 6, 2, 4, 8), value("s--u", 6, 2, 9, 8), value("s--u", 6, 2, 9, 3)
    call = Call("scaled_dot_product_attention", [query, key, other], {}, [(6, 2, 4, 3), (6, 2, 4)], ("query",))
    assert list(map(told, axes_of(call))) == [["s6", "-2", "-4", "u3/3"], ["-6", "-2", "-4"]]


@pytest.mark.parametrize(("bags", "expected"), [(6, "s6"), (12, "s12")])
def test_bags_are_samples_whole_where_the_indices_begin_with_those(bags: int, expected: str) -> None:
    indices = replace(value("s", 24), axes=((factor(6, "sample"), factor(4)),))
    call = Call("_embedding_bag", [weight(9, 8), indices], {}, [(bags, 8), (24,)], ("weight", "indices"))
    first, second = map(told, axes_of(call))
    assert (first, second) == ([expected, "u8/8"], ["-24"])
    kept = axes_of(call)[0][0][0].key == indices.axes[0][0].key
    assert kept == (bags == 6)


def test_the_product_that_addcmul_adds_makes_units_and_its_base_does_not() -> None:
    call = Call("addcmul", [weight(8, 3), X, weight(8, 3)], {}, [(6, 8, 3)], ("self", "tensor1", "tensor2"))
    assert told(axes_of(call)[0]) == ["s6", "u8/24", "u3/24"]
    base = Call("addcmul", [weight(8, 3), X, value("-", 3)], {}, [(6, 8, 3)], ("self", "tensor1", "tensor2"))
    assert told(axes_of(base)[0]) == ["s6", "u8/8", "-3"]


UNITS = value("su", 6, 8, made_by="a"), value("su", 6, 8, made_by="b")


@pytest.mark.parametrize(
    ("nodes", "dim", "expected"),
    [
        (UNITS, 1, ["s6", "u2/16", "u8/16"]),
        (UNITS, -1, ["s6", "u8/16", "u2/16"]),
        (UNITS[:1] * 2, 1, ["s6", "-2", "u8/8"]),
        ((UNITS[0], replace(UNITS[1], productions=())), 1, ["s6", "-2", "u8/8"]),
        ((UNITS[0], replace(UNITS[0], members=Members("a", 2, 1, is_weight=False))), 1, ["s6", "u2/16", "u8/16"]),
        (UNITS[:1], 0, ["", "s6", "u8/8"]),
    ],
    ids=["of two layers", "behind", "of one layer", "of no layer", "of two members", "one alone"],
)
def test_stacked_units_are_each_layers_own_or_positions(nodes: tuple[Node, ...], dim: int, expected: list[str]) -> None:
    shape = [6, 8]
    shape.insert(dim % 3, len(nodes))
    assert result("stack", list(nodes), dim, shape=tuple(shape)) == expected


@pytest.mark.parametrize(
    ("nodes", "dim", "shape", "expected"),
    [
        ((value("su", 6, 8), value("su", 6, 3)), 1, (6, 11), ["s6", "u11/11"]),
        ((value("su", 6, 8), value("su", 4, 8)), 0, (10, 8), ["s10", "u8/8"]),
        ((value("s-u", 6, 4, 8), value("s-u", 6, 2, 8)), 1, (6, 6, 8), ["s6", "-6", "u8/8"]),
        ((value("su", 6, 8), value("s-", 6, 3)), -1, (6, 11), ["s6", "u11/11"]),
    ],
)
def test_what_is_put_side_by_side_is_units_samples_or_positions_together(
    nodes: tuple[Node, ...], dim: int, shape: tuple[int, ...], expected: list[str]
) -> None:
    assert result("cat", list(nodes), dim, shape=shape) == expected


@pytest.mark.parametrize(
    ("name", "args", "shape", "expected"),
    [
        ("im2col", (value("su--", 6, 8, 4, 4), [3, 3]), (6, 72, 4), ["s6", "u8/8·-9", "-4"]),
        ("im2col", (value("u--", 8, 4, 4), [3, 3]), (72, 4), ["-72", "-4"]),
        ("unfold", (value("su-", 6, 8, 5), 2, 2, 1), (6, 8, 4, 2), ["s6", "u8/8", "-4", "-2"]),
        ("unfold", (value("su-", 6, 8, 5), -2, 2, 1), (6, 7, 5, 2), ["s6", "-7", "-5", "-2"]),
        ("permute", (value("su-", 6, 8, 5), [2, 0, -2]), (5, 6, 8), ["-5", "s6", "u8/8"]),
        ("transpose", (value("su-", 6, 8, 5), 0, -1), (5, 8, 6), ["-5", "u8/8", "s6"]),
        ("select", (value("su-", 6, 8, 5), 2, 1), (6, 8), ["s6", "u8/8"]),
        ("select", (value("-su", 5, 6, 8),), (6, 8), ["s6", "u8/8"]),
        ("diagonal", (value("s-u-", 6, 5, 8, 5), 0, 1, 3), (6, 8, 5), ["s6", "u8/8", "-5"]),
        ("diagonal", (value("s-u", 6, 5, 8),), (8, 5), ["u8/8", "-5"]),
        ("slice", (value("su", 6, 8),), (4, 8), ["s4", "u8/8"]),
        ("slice", (value("su", 6, 8),), (6, 3), ["s6", "u3/3"]),
        ("pixel_shuffle", (value("su--", 6, 8, 2, 3), 2), (6, 2, 4, 6), ["s6", "u2/2", "-4", "-6"]),
        ("repeat", (value("su", 6, 8), [2, 1, 3]), (2, 6, 24), ["-2", "s6", "-3·u8/8"]),
        ("expand", (value("su-", 6, 8, 1), [6, 8, 5]), (6, 8, 5), ["s6", "u8/8", "-5"]),
        ("squeeze", (value("s-u", 6, 1, 8),), (6, 8), ["s6", "u8/8"]),
        ("unsqueeze", (value("su", 6, 8), -2), (6, 1, 8), ["s6", "", "u8/8"]),
        ("constant_pad_nd", (value("su-", 6, 8, 5), [1, 1]), (6, 8, 7), ["s6", "u8/8", "-7"]),
        ("sum", (value("su-", 6, 8, 5), [2]), (6, 8), ["s6", "u8/8"]),
        ("sum", (value("su-", 6, 8, 5), [-1], True), (6, 8, 1), ["s6", "u8/8", ""]),
        ("sum", (value("su-", 6, 8, 5), 1), (6, 5), ["s6", "-5·u1/1"]),  # what units add up to is one
        ("amax", (value("s-u", 6, 5, 8), [1, 2]), (6,), ["s6·u1/1"]),
        ("index_select", (value("su", 6, 8), 1, weight(3)), (6, 3), ["s6", "u3/3"]),
        ("index_select", (value("su", 6, 8), 0, weight(9)), (9, 8), ["s9", "u8/8"]),
        ("index_select", (value("s-u", 6, 5, 8), 1, weight(3)), (6, 3, 8), ["s6", "-3", "u8/8"]),
        ("index", (value("su", 6, 8), [weight(9)]), (9, 8), ["s9", "u8/8"]),
        ("index", (value("-su", 5, 6, 8), [None, weight(9)]), (5, 9, 8), ["-5", "s9", "u8/8"]),
        ("index", (value("-su", 5, 6, 8), [weight(9)]), (9, 6, 8), ["-9", "s6", "u8/8"]),
        ("gather", (value("s-u", 6, 5, 8), 1, weight(6, 2, 8)), (6, 2, 8), ["s6", "-2", "u8/8"]),
        ("topk", (value("su", 6, 8), 3), (6, 3), ["s6", "k3"]),
        ("scatter_add", (weight(9, 8), 0, weight(6, 8), value("su", 6, 8)), (9, 8), ["s9", "u8/8"]),
        ("scatter_add", (weight(6, 9), 1, weight(6, 5), value("su", 6, 5)), (6, 9), ["s6", "-9"]),
        ("scatter_add", (value("su", 6, 9), -1, weight(6, 5), value("s-", 6, 5)), (6, 9), ["s6", "u9/9"]),
        ("scatter_add", (value("su", 9, 8), 0, weight(6, 8), value("su", 6, 8)), (9, 8), ["s9", "u8/8"]),
        ("index_put", (weight(9, 8), [weight(6)], value("su", 6, 8)), (9, 8), ["s9", "u8/8"]),
        ("native_layer_norm", (value("s-u", 6, 5, 8), [8]), (6, 5, 8), ["s6", "-5", "u8/8"]),
        ("mm", (value("su", 6, 8), weight(8, 5)), (6, 5), ["s6", "u5/5"]),
        ("mm", (weight(5, 8), value("us", 8, 6)), (5, 6), ["u5/5", "s6"]),
        ("mm", (weight(5, 8, learned=False), value("su", 8, 6)), (5, 6), ["-5", "u6/6"]),
        ("bmm", (value("s-u", 6, 5, 8), weight(6, 8, 3)), (6, 5, 3), ["s6", "-5", "u3/3"]),
        ("mv", (value("su", 6, 8), weight(8)), (6,), ["s6·u1/1"]),
        ("linear", (value("s-u", 6, 5, 8), weight(3, 8)), (6, 5, 3), ["s6", "-5", "u3/3"]),
        ("embedding", (weight(9, 8), value("s-", 6, 5)), (6, 5, 8), ["s6", "-5", "u8/8"]),
        ("convolution", (value("su--", 6, 8, 4, 4), weight(5, 8, 3, 3)), (6, 5, 2, 2), ["s6", "u5/5", "-2", "-2"]),
    ],
)
def test_where_axes_go(name: str, args: tuple[Any, ...], shape: tuple[int, ...], expected: list[str]) -> None:
    names = {"im2col": ("self", "kernel_size"), "unfold": ("self", "dimension", "size", "step")}
    names |= {"permute": ("self", "dims"), "transpose": ("self", "dim0", "dim1"), "select": ("self", "dim", "index")}
    names |= {"diagonal": ("self", "offset", "dim1", "dim2"), "unsqueeze": ("self", "dim")}
    names |= dict.fromkeys(("sum", "amax"), ("self", "dim", "keepdim"))
    names |= dict.fromkeys(("index_select", "gather"), ("self", "dim", "index"))
    names |= {"index": ("self", "indices"), "topk": ("self", "k", "dim"), "index_put": ("self", "indices", "values")}
    names |= {"scatter_add": ("self", "dim", "index", "src"), "mm": ("self", "mat2"), "bmm": ("self", "mat2")}
    names |= {"mv": ("self", "vec"), "linear": ("input", "weight", "bias"), "embedding": ("weight", "indices")}
    names |= {"convolution": ("input", "weight", "bias")}
    call = Call(name, list(args), {}, [shape], names.get(name, ("self",)))
    assert told(axes_of(call)[0]) == expected


CONVOLVES = ("input", "weight", "bias", "stride", "padding", "dilation", "transposed", "output_padding", "groups")
IMAGE = value("su--", 6, 8, 4, 4)


def convolved(*shape: int, stride: int = 1, transposed: bool = False, groups: int = 1) -> Call:
    steps, whole = [stride, stride], [0, 0]
    args = [IMAGE, weight(*shape), None, steps, whole, [1, 1], transposed, whole, groups]
    out = shape[1] * groups if transposed else shape[0]
    return Call("convolution", args, {}, [(6, out, 2, 2)], CONVOLVES)


def product(name: str, names: tuple[str, ...], *args: Node, out: tuple[int, ...]) -> Call:
    return Call(name, list(args), {}, [out], names)


TWO = ("self", "mat2")


@pytest.mark.parametrize(
    ("call", "kind", "fans"),
    [
        (product("mm", TWO, value("su", 6, 8), weight(8, 5), out=(6, 5)), "linear", (8, 5)),
        (product("mm", TWO, weight(5, 8), value("us", 8, 6), out=(5, 6)), "linear", (8, 5)),
        (product("bmm", TWO, value("-su", 3, 6, 8), weight(3, 8, 5), out=(3, 6, 5)), "linear", (8, 5)),
        (product("bmm", TWO, value("s-u", 6, 4, 8), slices(6, 8, 5), out=(6, 4, 5)), "linear", (8, 5)),
        (product("bmm", TWO, slices(6, 5, 8), value("su-", 6, 8, 4), out=(6, 5, 4)), "linear", (8, 5)),
        (product("mv", ("self", "vec"), value("su", 6, 8), weight(8), out=(6,)), "linear", (8, 1)),
        (product("linear", ("input", "weight"), value("su", 6, 8), weight(3, 8), out=(6, 3)), "linear", (8, 3)),
        (
            product("mkldnn_rnn_layer", ("input", "w"), value("-s-", 7, 6, 3), weight(20, 3), out=(7, 6, 5)),
            "linear",
            (3, 20),
        ),
        (product("embedding", ("weight", "indices"), weight(9, 8), value("s", 6), out=(6, 8)), "embedding", (1, 8)),
        (product("_embedding_bag", ("weight", "i"), weight(9, 8), value("s", 24), out=(6, 8)), "embedding", (1, 8)),
        (product("mul", ("self", "other"), X, weight(8, 3), out=(6, 8, 3)), "parameter", (1, 24)),
        (product("_grouped_mm", TWO, value("su", 6, 8), weight(3, 8, 5), out=(6, 5)), "linear", (8, 5)),
        (convolved(5, 8, 3, 3), "convolution", (72, 45)),
        (convolved(5, 8, 3, 3, stride=2), "convolution", (72, 45 / 4)),
        (convolved(6, 4, 3, 3, groups=2), "convolution", (36, 27)),
        (convolved(8, 5, 3, 3, stride=2, transposed=True), "transposed_convolution", (72 / 4, 45)),
        (convolved(8, 3, 3, 3, stride=2, transposed=True, groups=2), "transposed_convolution", (36 / 4, 27)),
    ],
)
def test_what_a_weight_makes_sums_so_many_products(call: Call, kind: str, fans: tuple[float, float]) -> None:
    axes_of(call)
    (made,) = call.produced
    assert (made.weight, made.kind, made.fan_in, made.fan_out) == ("w", kind, *fans)


def test_a_kernel_a_sample_makes_its_samples_units_and_another_axis_of_samples_is_told() -> None:
    folded = Node(3, "input", "", (1, 48, 4, 4), ((), (factor(6, "sample"), factor(8)), (factor(4),), (factor(4),)))
    kernels = replace(weight(30, 8, 3, 3), from_data=True, weights=(), learned=False)
    args = [folded, kernels, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 6]
    call = Call("convolution", args, {}, [(1, 30, 2, 2)], CONVOLVES)
    assert told(axes_of(call)[0]) == ["", "s6·u5/5", "-2", "-2"]
    assert not call.produced
    usual = convolved(5, 8, 3, 3)
    axes_of(usual)
    assert usual.evidence == []
    turned = replace(IMAGE, axes=(IMAGE.axes[2], IMAGE.axes[0], *IMAGE.axes[2:]))
    odd = Call("convolution", [turned, *usual.args[1:]], {}, usual.shapes, CONVOLVES)
    axes_of(odd)
    assert [reason for _, reason in odd.evidence] == ["convolution takes its samples along another axis"]


@pytest.mark.parametrize(
    ("left", "right", "shape", "expected"),
    [
        (value("su--", 6, 2, 4, 8), value("su--", 6, 2, 8, 3), (6, 2, 4, 3), ["s6", "u2/2", "-4", "-3"]),
        (value("s-u", 6, 4, 8), value("su-", 6, 8, 3), (6, 4, 3), ["s6", "-4", "-3·u1/1"]),
        (value("s--", 6, 4, 8), value("s-u", 6, 8, 3), (6, 4, 3), ["s6", "-4", "u3/3"]),
        (value("su-", 6, 4, 8), value("s-u", 6, 8, 3), (6, 4, 3), ["s6", "-4", "-3"]),
        (value("su", 6, 8), value("u", 8), (6,), ["s6·u1/1"]),
    ],
)
def test_a_product_of_data_has_units_of_neither_where_both_have_some(
    left: Node, right: Node, shape: tuple[int, ...], expected: list[str]
) -> None:
    assert told(axes_of(Call("matmul", [left, right], {}, [shape], ("self", "other")))[0]) == expected


def test_operands_are_broadcast_and_results_without_a_claim_are_positions() -> None:
    assert result("maximum", value("s-", 6, 1), value("-u", 1, 8), shape=(6, 8)) == ["s6", "u8/8"]
    assert result("maximum", value("su", 6, 8), value("u", 8), shape=(6, 8)) == ["s6", "u8/8"]
    both = axes_of(Call("view", [value("su", 6, 8)], {}, [(6, 2, 4), (5,)], ("self",)))
    assert list(map(told, both)) == [["s6", "u2/8", "u4/8"], ["-5"]]


@pytest.mark.parametrize(
    ("left", "right", "shape", "expected"),
    [
        (value("s-u", 6, 4, 8), value("s--", 6, 8, 5), (6, 4, 5), ["s6", "-4", "-5·u1/1"]),
        (value("s--", 6, 4, 5), value("s-u", 6, 5, 8), (6, 4, 8), ["s6", "-4", "u8/8"]),
        (value("s--", 6, 4, 5), value("su-", 6, 5, 8), (6, 4, 8), ["s6", "-4", "-8·u1/1"]),
        (value("su-", 6, 4, 5), value("s-u", 6, 5, 8), (6, 4, 8), ["s6", "-4", "-8"]),
        (weight(5, 8), value("-", 8), (5,), ["u5/5"]),
        (weight(5, 8), value("s-u", 6, 8, 4), (6, 5, 4), ["s6", "u5/5", "-4"]),
    ],
    ids=["scores", "values by their weights", "units summed over", "between units", "one vector", "a weight in front"],
)
def test_a_product_has_the_units_of_its_weight_or_values_and_a_score_is_one_unit(
    left: Node, right: Node, shape: tuple[int, ...], expected: list[str]
) -> None:
    assert result("matmul", left, right, shape=shape) == expected


def test_a_product_that_sums_over_samples_says_so() -> None:
    samples_summed = Call("mm", [weight(5, 6), value("s-", 6, 8)], {}, [(5, 8)], ("self", "mat2"))
    axes_of(samples_summed)
    assert samples_summed.evidence
    kept = Call("mm", [weight(5, 8), value("-s", 8, 6)], {}, [(5, 6)], ("self", "mat2"))
    assert told(axes_of(kept)[0]) == ["u5/5", "s6"]
    assert not kept.evidence


def test_a_stack_of_matrices_is_picked_from_by_number_along_its_first_axis() -> None:
    stack = replace(weight(4, 8, 5), axes=((factor(4, "member"),), (factor(8),), (factor(5),)))
    call = Call("index", [stack, [value("s", 6)]], {}, [(6, 8, 5)], ("self", "indices"))
    assert told(axes_of(call)[0]) == ["s6", "-8", "-5"]


@pytest.mark.parametrize(
    ("indices", "shape", "expected"),
    [
        ([weight(4)], (4, 8), ["s4", "u8/8"]),
        ([None, weight(3)], (6, 3), ["s6", "u3/3"]),
        ([weight(4, 2)], (4, 2, 8), ["-4", "-2", "-8"]),
        ([weight(4), weight(4)], (4,), ["-4"]),
    ],
    ids=["samples", "units", "an index of two axes", "two indices"],
)
def test_one_index_picks_samples_or_units_and_several_forget(
    indices: list[Any], shape: tuple[int, ...], expected: list[str]
) -> None:
    call = Call("index", [value("su", 6, 8), indices], {}, [shape], ("self", "indices"))
    assert told(axes_of(call)[0]) == expected


def test_copies_stand_in_front_of_what_they_copy() -> None:
    call = Call("repeat", [value("su", 6, 8), [3, 1, 2]], {}, [(3, 6, 16)], ("self", "repeats"))
    assert told(axes_of(call)[0]) == ["-3", "s6", "-2·u8/8"]
    nothing = Call("repeat", [value("su", 6, 8), [1, 0]], {}, [(6, 0)], ("self", "repeats"))
    assert told(axes_of(nothing)[0])[0] == "s6"


def test_columns_of_images_have_the_kernel_behind_each_channel() -> None:
    images = value("su--", 6, 8, 5, 5)
    call = Call("im2col", [images], {}, [(6, 72, 9)], ("self",))
    assert told(axes_of(call)[0]) == ["s6", "u8/8·-9", "-9"]
    single = Call("im2col", [value("u--", 8, 5, 5)], {}, [(72, 9)], ("self",))
    assert told(axes_of(single)[0]) == ["-72", "-9"]


STACK = replace(weight(4, 8, 5), axes=((factor(4, "member"),), (factor(8),), (factor(5),)))
TURNED = replace(STACK, shape=(4, 5, 8), axes=(STACK.axes[0], *STACK.axes[:0:-1]))


@pytest.mark.parametrize(
    ("name", "nodes", "dim", "shape", "expected"),
    [
        ("cat", (STACK, STACK), 0, (8, 8, 5), ["c2·m4", "-8", "-5"]),
        ("cat", (STACK, TURNED), 0, (8, 8, 5), ["c2·m4", "-8", "-5"]),
        ("stack", (STACK, STACK), 1, (4, 2, 8, 5), ["m4", "c2", "-8", "-5"]),
        ("stack", (STACK, STACK), 0, (2, 4, 8, 5), ["-2", "m4", "-8", "-5"]),
        ("stack", (STACK, weight(4, 8, 5)), 1, (4, 2, 8, 5), ["m4", "-2", "-8", "-5"]),
        ("stack", (STACK,), 1, (4, 1, 8, 5), ["m4", "", "-8", "-5"]),
    ],
)
def test_a_weight_beside_itself_moved_about_is_copies_of_its_rows(
    name: str, nodes: tuple[Node, ...], dim: int, shape: tuple[int, ...], expected: list[str]
) -> None:
    assert result(name, list(nodes), dim, shape=shape) == expected


@pytest.mark.parametrize(
    ("name", "operands", "shape"),
    [
        ("mm", (value("us", 8, 6), weight(6, 5)), (8, 5)),
        ("mm", (weight(5, 6), value("su", 6, 8)), (5, 8)),
        ("mv", (value("us", 8, 6), weight(6)), (8,)),
        ("linear", (value("us", 8, 6), weight(5, 6)), (8, 5)),
    ],
)
def test_a_weight_that_sums_over_what_was_taken_for_the_samples_is_evidence_against_that(
    name: str, operands: tuple[Node, Node], shape: tuple[int, ...]
) -> None:
    names = {"mv": ("self", "vec"), "linear": ("input", "weight")}.get(name, ("self", "mat2"))
    call = Call(name, list(operands), {}, [shape], names)
    axes_of(call)
    ((left, reason),) = call.evidence
    assert reason == f"{name} sums over the axis that was taken for the samples"
    assert told(left) == ["u8/8"]


@pytest.mark.parametrize(
    ("dims", "shape", "expected"),
    [
        ([2], (6, 4, 5), ["s6", "-4", "u5/5"]),
        ([1], (6, 3, 8), ["s6", "-3", "u8/8"]),
        ([1, 2], (6, 4, 5), ["s6", "-4", "u5/5"]),
    ],
)
def test_frequencies_of_units_are_units_and_those_of_positions_are_positions(
    dims: list[int], shape: tuple[int, ...], expected: list[str]
) -> None:
    call = Call("_fft_r2c", [value("s-u", 6, 4, 8), dims, 0, True], {}, [shape], ("self", "dim"))
    assert told(axes_of(call)[0]) == expected
