"""Traits of a row beside axes, numbers and signals, by running the operator; no list of names stands elsewhere."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from tests.structure.operators.cases import UNITS
from tests.structure.operators.running import ALL, ran

from leaky.structure.activations import recognise
from leaky.structure.axes import plain
from leaky.structure.graph import Call, Node
from leaky.structure.operators import OPERATORS

SOURCE = Path(__file__).parents[3] / "src" / "leaky"


def rows_with(trait: str) -> list[tuple[str, int]]:
    return [case for case in ALL if getattr(OPERATORS[case[0]], trait)]


@pytest.mark.parametrize(("name", "index"), rows_with("same_value"))
def test_the_same_values_stay_in_their_order_unless_the_row_says_that_it_changes(name: str, index: int) -> None:
    run = ran(name, index)
    (result,) = run.before
    assert torch.equal(result.flatten().sort().values, run.x.flatten().sort().values)
    assert torch.equal(result.flatten(), run.x.flatten()) != OPERATORS[name].reorders


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
