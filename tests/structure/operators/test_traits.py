"""Traits of a row beside axes, numbers and signals, by running the operator; no list of names stands elsewhere."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from tests.structure.operators.cases import CASES, UNITS
from tests.structure.operators.running import ALL, ran

from leaky.structure.activations import RECOGNISERS, recognise
from leaky.structure.axes import plain
from leaky.structure.graph import Call, Node
from leaky.structure.operators import OPERATORS, Numbers, Signal
from leaky.structure.sample_rules import RULES as SAMPLE_RULES

SOURCE = Path(__file__).parents[3] / "src" / "leaky"


def rows_with(trait: str) -> list[tuple[str, int]]:
    return [case for case in ALL if getattr(OPERATORS[case[0]], trait)]


@pytest.mark.parametrize(("name", "index"), rows_with("same_value"))
def test_the_same_values_stay_in_their_order_unless_the_row_says_that_it_changes(name: str, index: int) -> None:
    run = ran(name, index)
    (result,) = run.before
    assert torch.equal(result.flatten().sort().values, run.x.flatten().sort().values)
    assert torch.equal(result.flatten(), run.x.flatten()) != OPERATORS[name].reorders


def mixed(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Values of both signs, none of them near 0, some of them large."""
    z = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()
    return 4 * z + z.sign() / 2


def of_one_value(numbers: tuple[str, ...]) -> list[tuple[str, int]]:
    """Calls of rows of these kinds on numbers of both signs, with no weight."""
    chosen = [case for case in ALL if OPERATORS[case[0]].numbers in numbers]
    return [(n, i) for n, i in chosen if not CASES[n][i].indices and CASES[n][i].weight is None]


OTHERWISE = {
    "copy": "the value is its second argument",
    "nan_to_num": "NaN becomes a number",
    "native_dropout": "elements are left out in training",
}
"""Rows that give the same values back in these calls and not in all."""


@pytest.mark.parametrize(("name", "index"), of_one_value(("moves", "joins", "scales", "compares")))
def test_where_the_same_values_come_back_with_their_axes_the_row_says_so(name: str, index: int) -> None:
    run = ran(name, index)
    x = mixed(run.x.shape, 3)
    result = run.values(x)[0]
    orders = list(itertools.permutations(range(x.ndim))) if result.numel() == x.numel() else []
    same = any(torch.equal(x.permute(order).flatten().double(), result.flatten().double()) for order in orders)
    assert OPERATORS[name].same_value == (same and name not in OTHERWISE)


CHOSEN_BY = {
    "nan_to_num": "NaN becomes a number",
    "where": "another value tells which elements go through",
    "masked_fill": "another value tells which elements go through",
    "addcmul": "what it adds is computed",
    "addcdiv": "what it adds is computed",
    "upsample_linear1d": "positions are mixed",
    "upsample_bilinear2d": "positions are mixed",
    "upsample_bicubic2d": "positions are mixed",
    "upsample_trilinear3d": "positions are mixed",
}
"""Rows that add and multiply alone, and claim no more."""


@pytest.mark.parametrize(("name", "index"), of_one_value(("joins", "scales", "compares", "pools", "reduces")))
def test_sign_and_scale_go_through_what_is_linear_and_through_nothing_that_bends(name: str, index: int) -> None:
    """f(x + y) + f(0) = f(x) + f(y), or where the largest is taken f(2x) = 2 f(x) with a sign of its own."""
    run = ran(name, index)
    x, y = mixed(run.x.shape, 1), mixed(run.x.shape, 2)
    at = [run.values(z)[0].double() for z in (x + y, torch.zeros_like(x), x, y)]
    moves = not torch.equal(at[2], at[3])
    linear = moves and torch.allclose(at[0] + at[1], at[2] + at[3], atol=1e-9)
    row = OPERATORS[name]
    if linear:
        assert row.keeps == (name not in CHOSEN_BY)
    elif row.keeps:
        assert row.numbers == "pools"
        assert torch.allclose(run.values(2 * x)[0], 2 * at[2])
        assert bool((at[2] < 0).any())


def test_the_words_of_a_row_are_words_that_somebody_knows() -> None:
    """No rule is looked up by a word that is in no table."""
    x = Node(0, "input", "", (4, UNITS), plain((4, UNITS)), from_data=True)
    assert {row.numbers for row in OPERATORS.values()} == set(get_args(Numbers))
    assert {row.signal for row in OPERATORS.values()} == set(get_args(Signal))
    assert {row.samples for row in OPERATORS.values()} == {"", *SAMPLE_RULES}
    assert {row.activation for row in OPERATORS.values()} == {"", *RECOGNISERS}
    assert {row.side for row in OPERATORS.values()} == {"", "positive", "negative"}
    assert recognise(Call("relu", [x], {}, [(4, UNITS)], ()), []) is not None


@pytest.mark.parametrize("name", [n for n, row in OPERATORS.items() if row.numbers in ("picks", "places")])
def test_what_is_picked_or_placed_is_an_argument_of_that_name(name: str) -> None:
    operator = getattr(torch.ops.aten, name)
    names = {argument.name for o in operator.overloads() for argument in getattr(operator, o)._schema.arguments}
    assert OPERATORS[name].source in names
    assert (OPERATORS[name].source == "self") == (OPERATORS[name].numbers == "picks")


def test_operands_of_a_product_are_arguments_of_those_names() -> None:
    products = {name: row.operands for name, row in OPERATORS.items() if row.operands is not None}
    assert len(products) >= 10
    for name, operands in products.items():
        operator = getattr(torch.ops.aten, name)
        schemas = [{a.name for a in getattr(operator, o)._schema.arguments} for o in operator.overloads()]
        assert any({*operands} - {""} <= schema for schema in schemas), name


def test_winners_are_written_to_places_by_what_overwrites() -> None:
    """scatter(0, index, value) and x[index] = value, as layers of winners are written; sums over places choose none."""
    placing = {name: row.chooses for name, row in OPERATORS.items() if row.numbers == "places"}
    assert {name for name, chooses in placing.items() if chooses} == {"scatter", "index_put"}


MAKES: dict[str, Any] = {
    **{name: lambda f, x, v: f([3, 2]) for name in ("zeros", "ones", "rand", "randn")},
    **{name: lambda f, x, v: f(x, [3, 2]) for name in ("new_zeros", "new_ones")},
    **{name: lambda f, x, v: f(x) for name in ("zeros_like", "ones_like", "rand_like", "randn_like")},
    **{name: lambda f, x, v: f(x) for name in ("random", "exponential", "cauchy", "log_normal")},
    "full": lambda f, x, v: f([3, 2], v),
    "full_like": lambda f, x, v: f(x, v),
    "new_full": lambda f, x, v: f(x, [3, 2], v),
    "scalar_tensor": lambda f, x, v: f(v),
    "arange": lambda f, x, v: f(v + 2),
    "linspace": lambda f, x, v: f(0, v, 6),
    "eye": lambda f, x, v: f(2 + int(v)),
    "randint": lambda f, x, v: f(1000, [3, 2]),
    "randint_like": lambda f, x, v: f(x, 1000),
    "randperm": lambda f, x, v: f(50),
    "geometric": lambda f, x, v: f(x, 0.01),
}
"""Calls that make a value: of the operator, of a tensor, and of a number that it may be filled with."""
UNDEFINED = {n for n, row in OPERATORS.items() if row.numbers == "creates" and "empty" in n}
"""What they hold is whatever was there."""


@pytest.mark.parametrize("name", [n for n, row in OPERATORS.items() if row.numbers == "creates"])
def test_what_is_made_is_random_or_always_the_same_number_as_its_row_says(name: str) -> None:
    row = OPERATORS[name]
    if name in UNDEFINED:
        assert (row.fill, row.random) == (None, False)
        return
    made = []
    for seed, value in (0, 1.0), (1, 1.0), (1, 2.0):
        torch.manual_seed(seed)
        made.append(MAKES[name](getattr(torch.ops.aten, name), torch.zeros(3, 2), value).double())
    assert row.random == (not torch.equal(made[0], made[1]))
    one = made[0].flatten()[0]
    always = all(bool((each == one).all()) for each in made)
    assert row.fill == (float(one) if always else None)


def test_arithmetic_rectifies_only_where_its_arguments_make_it() -> None:
    x, y = (Node(i, "input", "", (4, UNITS), plain((4, UNITS)), from_data=True) for i in (0, 1))
    bends_nothing: dict[str, list[Any]] = {
        "mul": [0.3],
        "maximum": [y],
        "fmax": [y],
        "where": [x, y],
        "masked_fill": [y, 0.0],
        "clamp": [-1.0, 2.0],
        "clip": [-1.0, 2.0],
        "clamp_min": [-1.0],
    }
    for name, arguments in bends_nothing.items():
        assert recognise(Call(name, [x, *arguments], {}, [(4, UNITS)], OPERATORS[name].arguments), []) is None
    assert {name for name, row in OPERATORS.items() if row.arithmetic} == set(bends_nothing)


@pytest.mark.parametrize(("name", "index"), [c for c in ALL if OPERATORS[c[0]].numbers == "pads" and c[0] != "im2col"])
def test_a_mirrored_border_holds_entries_of_the_value(name: str, index: int) -> None:
    run = ran(name, index)
    assert run.before[0].numel() > run.x.numel()
    assert set(run.before[0].flatten().tolist()) <= set(run.x.flatten().tolist()) or not OPERATORS[name].mirrors
    assert set(run.before[0].flatten().tolist()) >= set(run.x.flatten().tolist())
    assert OPERATORS[name].mirrors == (name != "constant_pad_nd")


@pytest.mark.parametrize("name", [name for name, row in OPERATORS.items() if row.numbers == "compares"])
def test_a_comparison_with_0_is_true_on_the_side_that_its_row_says(name: str) -> None:
    operator, row = getattr(torch.ops.aten, name), OPERATORS[name]
    if name == "copy":
        return
    above, below = (bool(operator(torch.tensor(z), 0)) for z in (1.0, -1.0))
    expected = {(True, False): "positive", (False, True): "negative"}.get((above, below), "")
    assert row.side == expected


@pytest.mark.parametrize(("name", "index"), rows_with("chooses"))
def test_who_wins_depends_on_the_value_or_on_the_places_that_are_given(name: str, index: int) -> None:
    run = ran(name, index)
    if OPERATORS[name].numbers == "places":
        assert run.before[0].numel() != run.x.numel()
        return
    turned = [t for t in run.values(-run.x) if t.dtype == torch.long]
    places = [t for t in run.before if t.dtype == torch.long]
    assert places
    assert not torch.equal(places[0], turned[0])


@pytest.mark.parametrize("name", [name for name, row in OPERATORS.items() if row.activation])
def test_an_activation_is_recognised_by_the_arguments_that_its_row_names(name: str) -> None:
    """Each on a call that rectifies; the figures against torch's own defaults."""
    x = Node(0, "input", "", (4, UNITS), plain((4, UNITS)), from_data=True)
    given = {
        "leaky_relu": [0.25],
        "hardtanh": [0.0, 6.0],
        "clamp": [0.0, 6.0],
        "clip": [0.0, 6.0],
        "clamp_min": [0.0],
        "threshold": [0.5, 2.0],
        "elu": [1.5],
        "celu": [2.0],
        "softplus": [3.0],
    }
    names = OPERATORS[name].arguments
    if not names or name == "mul":
        return
    found = recognise(Call(name, [x, *given.get(name, [])], {}, [(4, UNITS)], names), [])
    assert found is not None
    by_name = dict(zip(names[1:], given.get(name, []), strict=False))
    again = recognise(Call(name, [x], by_name, [(4, UNITS)], names), []) if name != "threshold" else found
    assert again is not None
    assert (again.name, again.negative_slope, again.cap) == (found.name, found.negative_slope, found.cap)
    assert again.threshold == found.threshold
    expected = {"leaky_relu": 0.25, "threshold": 0.0}.get(name, 0.0)
    assert found.negative_slope == expected
    assert found.cap == (6.0 if name in ("relu6", "hardtanh", "clamp", "clip") else None)
    if name == "threshold":
        assert (found.threshold, found.value) == (0.5, 2.0)


ELSEWHERE = {
    "structure/formulas.py": "elementwise operators that a formula may hold, with and without a row",
    "structure/masking.py": "comparisons and logical operators, with and without a row",
    "structure/composites.py": "what to call an activation that was spelled out",
    "structure/activations.py": "recognisers, by the word in the row of an operator",
    "structure/endings.py": "what a function at the end of a network is called",
    "structure/site_calls.py": "how a call is spelled in Python",
    "observation/comparing.py": "losses and functions of torch.nn.functional, by their names in Python",
}
"""Files that name operators of torch in lists of their own, and what for."""


ROOMS = ("structure", "observation", "repairing", "watching", "activation")
"""Those that see torch's operators."""
KINDS = {"linear", "convolution"}
"""Words for kinds of layers as well."""


def lists_of_names(tree: ast.Module) -> list[int]:
    """The lines of collections that hold three names of operators or more."""
    found = []
    for node in ast.walk(tree):
        words: list[str] = []
        if isinstance(node, ast.Set | ast.List | ast.Tuple):
            words = [e.value for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
        elif isinstance(node, ast.Dict):
            words = [k.value for k in node.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)]
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            words = str(node.value.value).split()
        if len(words) >= 3 and sum(word in OPERATORS.keys() - KINDS for word in words) >= 0.6 * len(words):
            found.append(node.lineno)
    return found


def test_no_file_outside_the_table_lists_names_of_operators() -> None:
    found = {}
    for file in SOURCE.rglob("*.py"):
        name = file.relative_to(SOURCE).as_posix()
        if name.split("/")[0] in ROOMS and not name.startswith(("structure/operators/", "structure/onnx/")):
            lines = lists_of_names(ast.parse(file.read_text("utf-8")))
            found |= {name: lines} if lines else {}
    assert {name: lines for name, lines in found.items() if name not in ELSEWHERE} == {}
    assert {name for name in ELSEWHERE if name not in found} == set(), "no longer needed"


def test_such_a_list_would_be_seen() -> None:
    assert lists_of_names(ast.parse('_VIEWS = {"view", "permute", "t"}')) == [1]
    assert lists_of_names(ast.parse('_VIEWS = "view permute t"')) == [1]
    assert lists_of_names(ast.parse('_NAMES = {"mean", "of", "things", "said"}')) == []
