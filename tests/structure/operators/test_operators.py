"""Every row of the table of operators, run on real tensors against brute force.

Axes: samples are permuted, or disturbed one at a time. Numbers: units are disturbed one at a time, and what moves in
the result is held against the numbers that it carries. Moments and correlations: sampled.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from tests.structure.operators.cases import CASES, SAMPLES, TWINS, UNITS, Case
from tests.structure.operators.running import ALL, Ran, moved_when, ran, split_by
from torch import Tensor, nn

from leaky.structure.label_propagation import Propagation, propagate
from leaky.structure.label_rules import NONE, unit_dim_of, units_of_weight
from leaky.structure.operators import OPERATORS
from leaky.structure.pass_index import PassIndex


def test_every_row_has_a_case_or_a_twin_that_has_one() -> None:
    assert set(CASES) | set(TWINS) == set(OPERATORS)
    assert all(CASES.values())
    assert not set(CASES) & set(TWINS)


@pytest.mark.parametrize(("name", "twin"), TWINS.items())
def test_what_cannot_run_here_claims_no_more_than_its_twin(name: str, twin: str) -> None:
    row, other = OPERATORS[name], OPERATORS[twin]
    assert row.numbers == other.numbers
    assert row.signal in (other.signal, "unknown")
    assert row.spatial == other.spatial
    assert row.keeps == other.keeps or not row.keeps


@pytest.mark.parametrize("name", [name for name, row in OPERATORS.items() if row.arguments])
def test_arguments_are_named_as_torch_names_them(name: str) -> None:
    operator = getattr(torch.ops.aten, name)
    schemas = [tuple(a.name for a in getattr(operator, o)._schema.arguments) for o in operator.overloads()]
    wanted = OPERATORS[name].arguments
    assert any(schema[: len(wanted)] == wanted for schema in schemas)


@pytest.mark.parametrize(("name", "index"), ALL)
def test_a_sample_axis_holds_samples(name: str, index: int) -> None:
    """A whole one is permuted as x is; of any other, each entry depends on one sample at most, or on several nodes."""
    run = ran(name, index)
    for kind, axes in enumerate(run.axes):
        factors = [f for axis in axes for f in axis]
        samples = [f for f in factors if f.role == "sample"]
        if not samples:
            continue
        assert len({f.key for f in samples}) == 1, "one sample axis"
        position = factors.index(samples[0])
        if samples[0] == run.start[0][0] and not run.model.case.ordered:
            order = torch.tensor([2, 0, 5, 1, 4, 3])
            split, _ = split_by(run.before[kind], axes)
            permuted, _ = split_by(run.values(run.x[order])[kind], axes)
            assert torch.allclose(permuted.double(), split.index_select(position, order).double(), equal_nan=True)
            continue
        moved = [split_by(moved_when(i, 0, run, kind), axes)[0] for i in range(SAMPLES)]
        most = torch.stack([each.movedim(position, 0).flatten(1).any(1) for each in moved]).sum(0).max()
        assert most <= 1 or OPERATORS[name].numbers == "places"


@pytest.mark.parametrize(("name", "index"), ALL)
def test_a_unit_axis_holds_units(name: str, index: int) -> None:
    """Each unit of x is in one entry along it at most, where units are not mixed; whole when it says so."""
    run = ran(name, index)
    if OPERATORS[name].numbers in ("takes", "mixes") or run.model.case.divides:
        return
    for kind, axes in enumerate(run.axes):
        factors = [f for axis in axes for f in axis]
        units = [i for i, f in enumerate(factors) if f.role == "unit"]
        if not units or (len(units) == 1 and factors[units[0]].size == 1):
            continue
        whole = np.prod([factors[i].size for i in units])
        assert whole == factors[units[0]].whole
        for unit in range(UNITS):
            moved, _ = split_by(moved_when(unit, 1, run, kind), axes)
            along = moved.movedim(tuple(units), tuple(range(len(units)))).reshape(whole, -1).any(1)
            joined = len(run.event.call.nodes) > 1 or isinstance(run.event.call.args[0], list)
            assert int(along.sum()) <= (2 if joined and name == "cat" else 1)


def numbers_after(run: Ran) -> tuple[dict[int, Tensor], Propagation]:
    """The numbers that the results carry, if those of x are its units."""
    constants = [node for event in run.history.events for node in event.call.nodes if node.operation == "weight"]
    recorded = PassIndex(run.history, {node.weights[0]: node.shape for node in constants})
    labels: dict[int, Tensor] = {}
    start = torch.arange(UNITS).reshape(1, -1, *(1,) * (run.x.ndim - 2)).expand(run.x.shape)
    propagation = propagate(recorded, {run.node.index: start.contiguous()}, through_sites=True, labels=labels)
    return labels, propagation


@pytest.mark.parametrize(("name", "index"), [c for c in ALL if not CASES[c[0]][c[1]].indices])
def test_numbers_are_where_their_units_are(name: str, index: int) -> None:
    run, row = ran(name, index), OPERATORS[name]
    labels, propagation = numbers_after(run)
    if row.numbers in ("takes", "creates"):
        assert row.numbers == "takes" or not bool(torch.stack([moved_when(u, 1, run, 0) for u in range(UNITS)]).any())
        return
    for kind, node in enumerate(run.event.results):
        influence = torch.stack([moved_when(unit, 1, run, kind) for unit in range(UNITS)])
        count = influence.sum(0)
        if node.index not in labels:
            given_up = run.model.case.silent or run.model.case.separate
            assert kind > 0 or given_up or bool((count > 1).any()), "numbers are lost though no units are mixed"
            assert kind > 0 or propagation.ended
            continue
        label = labels[node.index]
        assert int(count.max()) <= 1, "an element that carries a number depends on that unit alone"
        owner = torch.where(count > 0, influence.int().argmax(0), torch.full_like(label, NONE))
        assert bool(((owner == label) | (owner == NONE)).all())
        if kind == 0 and not run.model.case.silent:
            assert bool((owner != NONE).any())
            assert row.numbers in ("pools", "reduces", "places") or bool((owner == label).all())


@pytest.mark.parametrize(("name", "index"), [c for c in ALL if OPERATORS[c[0]].operands is not None])
def test_a_weight_takes_and_makes_the_units_that_it_says(name: str, index: int) -> None:
    """By autograd: ∂y/∂w of an element moves with the unit that it takes, and reaches the unit that it makes."""
    run = ran(name, index)
    weight = run.model.weight
    assert weight is not None
    _, propagation = numbers_after(run)

    def slopes(x: Tensor, unit: int | None = None) -> Tensor:
        output = run.model(x)
        mask = torch.rand(output.shape, generator=torch.Generator().manual_seed(3)).double() + 0.5
        if unit is not None:
            keep = torch.zeros(output.shape[dim])
            keep[unit] = 1
            mask = mask * keep.reshape([-1 if d == dim else 1 for d in range(output.ndim)])
        return torch.autograd.grad((output * mask).sum(), weight)[0]

    if name != "addbmm":
        (taken,) = propagation.taken
        for unit in range(UNITS):
            other = run.x.clone()
            other[:, unit] += 1.0
            assert torch.equal(slopes(other) != slopes(run.x), taken.owner == unit)
    node = next(node for node in run.event.call.nodes if node.weights == ("weight",))
    if len(node.shape) > 1 and name != "addbmm":
        dim = unit_dim_of(run.event, node)
        made = units_of_weight(run.event, node)
        for unit in range(run.before[0].shape[dim]):
            assert torch.equal(slopes(run.x, unit) != 0, made == unit)


DRAWS = 40


def drawn(case: Case, correlation: float, alike: bool, draw: int) -> Tensor:
    """Gaussian x whose samples correlate, the same at every position where they are to be alike."""
    generator = torch.Generator().manual_seed(draw)
    shape = (*case.shape[:2], *(1 if alike else size for size in case.shape[2:]))
    common, own = (torch.randn(shape, generator=generator).double() for _ in range(2))
    return (correlation**0.5 * common[:1] + (1 - correlation) ** 0.5 * own).expand(case.shape).clone()


@pytest.mark.parametrize(
    ("name", "index"),
    [c for c in ALL if OPERATORS[c[0]].signal in ("same", "pools", "pads", "scales", "concatenation")],
)
def test_moments_and_correlations_of_what_keeps_them(name: str, index: int) -> None:
    """E[y²] and the correlation of two samples, over draws, against what the row says of them."""
    row, case = OPERATORS[name], CASES[name][index]
    first = ran(name, index)
    if row.signal == "scales" and not isinstance(first.event.call.get("other"), float):
        return  # a factor an element is not covered
    factor_squared = {"mul": 0.3**2, "div": 0.3**-2}.get(name, 1.0)
    alike = row.signal in ("pools", "pads")
    before, after, correlations = [], [], []
    for draw in range(DRAWS):
        x = drawn(case, 0.6, alike, draw)
        y = first.values(x)[0]
        if name in ("constant_pad_nd", "im2col"):  # zeros around it are the share that the assumption leaves out
            return
        before.append(float(x.square().mean()))
        after.append(float(y.square().mean()))
        axes = first.axes[0]
        dims = [d for d, axis in enumerate(axes) if len(axis) == 1 and axis[0].role == "sample"]
        if dims and y.shape[dims[0]] == SAMPLES and name not in ("index", "index_select"):
            rows = y.movedim(dims[0], 0).flatten(1)
            pairs = [(rows[i] * rows[j]).mean() for i, j in itertools.combinations(range(SAMPLES), 2)]
            correlations.append(float(torch.stack(pairs).mean()) / factor_squared)
    error = np.std(np.array(after) / factor_squared - np.array(before)) / DRAWS**0.5
    assert abs(np.mean(after) / factor_squared - np.mean(before)) <= 4 * error + 1e-9
    if correlations:
        assert abs(np.mean(correlations) - 0.6) <= 4 * np.std(correlations) / DRAWS**0.5 + 1e-9


@pytest.mark.parametrize(("name", "shares"), [("add", (1, 0.25)), ("sub", (1, 0.25)), ("rsub", (0.25, 1))])
def test_second_moments_of_a_sum_add(name: str, shares: tuple[float, float]) -> None:
    x, y = torch.randn(2, 50_000, generator=torch.Generator().manual_seed(0)).double()
    assert OPERATORS[name].signal == "sum"
    total = getattr(torch.ops.aten, name)(x, y, alpha=0.5).square().mean()
    assert float(total) == pytest.approx(sum(shares), abs=0.03)


NORMS = [name for name, row in OPERATORS.items() if row.signal.endswith("_norm") and name in CASES]


@pytest.mark.parametrize("name", NORMS)
def test_norms_set_the_second_moment(name: str) -> None:
    run = ran(name, 0)
    x = torch.randn(run.x.shape, generator=torch.Generator().manual_seed(0)).double() * 3
    if OPERATORS[name].signal == "batch_norm":
        ones, zeros = torch.ones(UNITS).double(), torch.zeros(UNITS).double()
        y = nn.functional.batch_norm(x, None, None, ones, zeros, training=True)
    else:
        y = run.values(x)[0]
    assert float(y.square().mean()) == pytest.approx(1.0, rel=1e-3)
