"""Operations on whole layers and on what stands around them: figures worked out by hand, boundaries included."""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from leaky.errors import InputError
from leaky.repairing.ground import Ground, relative_change
from leaky.repairing.operations import OPERATIONS
from leaky.repairing.operations.optimizer_state import reset_slices
from leaky.repairing.operations.standardising import (
    LEAST_REACH,
    MOST_OFFSET,
    MOST_SIZE,
    MOST_SPREAD,
    STANDARDISE,
    InputRange,
    input_ranges,
    put_standardised,
    standardise,
)
from leaky.repairing.operations.statistics import ESTIMATE_STATISTICS, MOST_RATIO, MOST_SHIFT, stale
from leaky.repairing.operations.step_size import MOST, step_size
from leaky.repairing.plan import Action
from leaky.repairing.subject import Subject

DATA = torch.randn(300, 6, generator=torch.Generator().manual_seed(1))


# What enters a first layer.


def ranged(**given: Any) -> InputRange:
    """Inputs with nothing wrong, but for what is given."""
    known = {"size": 1.0, "reach": 1.0, "spread": 1.0, "offset": 0.0, "normalised": False} | given
    return InputRange("layer", refusal=None, **known)


@pytest.mark.parametrize(
    ("name", "limit", "beyond", "behind_a_norm"),
    [
        ("reach", LEAST_REACH, 0.99, False),
        ("size", MOST_SIZE, 1.01, False),
        ("spread", MOST_SPREAD, 1.01, True),
        ("offset", MOST_OFFSET, 1.01, False),
    ],
)
def test_inputs_are_troubled_beyond_the_limit_and_not_at_it(
    name: str, limit: float, beyond: float, behind_a_norm: bool
) -> None:
    assert ranged(**{name: limit}).trouble is None
    assert ranged(**{name: limit * beyond}).trouble is not None
    assert (ranged(**{name: limit * beyond}, normalised=True).trouble is not None) == behind_a_norm


def test_inputs_that_are_all_the_same_have_no_size_and_no_spread() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    (found,) = input_ranges(Ground(model, torch.full((40, 6), 700.0)))
    assert (found.size, found.reach, found.spread, found.offset) == (0.0, 0.0, 1.0, 0.0)
    assert found.constant
    assert found.trouble is None


@pytest.mark.parametrize(
    ("behind", "told"), [((), True), ((nn.ReLU(), nn.Linear(4, 2)), True), ((nn.BatchNorm1d(4), nn.ReLU()), False)]
)
def test_only_a_norm_right_behind_the_layer_undoes_the_size_of_its_input(
    behind: tuple[nn.Module, ...], told: bool
) -> None:
    torch.manual_seed(0)
    (found,) = input_ranges(Ground(nn.Sequential(nn.Linear(6, 4), *behind).eval(), DATA * 400))
    assert (found.trouble is not None) == told


@pytest.mark.parametrize(("path", "shown"), [("9", "nothing"), ("1", "a ReLU"), ("", "a Sequential")])
def test_only_a_linear_or_a_convolution_inside_the_model_has_a_standardising_kind(path: str, shown: str) -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    with pytest.raises(InputError, match=f"'{path}' must be a Linear or a convolution inside the model; it is {shown}"):
        put_standardised(model, path)
    assert put_standardised(model, "0") is model[0]


def test_constant_features_say_nothing_of_the_size_of_the_others() -> None:
    model, data = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)), DATA * 400
    data[:, 2:] = 7.0
    (found,) = input_ranges(Ground(model, data))
    assert found.size == pytest.approx(float(data[:, :2].square().mean(0).sqrt().min()), rel=1e-3)  # of two, the lower
    assert found.trouble is not None


class Two(nn.Module):
    """Two first layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.relu(self.a(x) + self.b(x)))


def test_of_two_first_layers_the_one_that_can_be_is_standardised() -> None:
    torch.manual_seed(0)
    model = Two()
    model.a.requires_grad_(False)
    before = Ground(model, DATA * 50).outputs()
    assert standardise(model, DATA * 50) == ("b",)
    assert relative_change(before, Ground(model, DATA * 50).outputs()) <= 1e-5


@pytest.mark.parametrize(("kind", "axes"), [(nn.Conv1d, 1), (nn.Conv2d, 2), (nn.Conv3d, 3)])
@pytest.mark.parametrize("padding", [0, 1, "one side"])
def test_a_convolution_of_any_rank_is_centred_unless_it_pads_anywhere(kind: Any, axes: int, padding: Any) -> None:
    torch.manual_seed(0)
    pads = (0,) * (axes - 1) + (1,) if padding == "one side" else padding
    model = nn.Sequential(kind(3, 4, 3, padding=pads), nn.ReLU(), kind(4, 2, 1))
    data = torch.randn(20, 3, *(5,) * axes, generator=torch.Generator().manual_seed(0)) * 20 + 40
    before = Ground(model, data).outputs()
    assert standardise(model, data) == ("0",)
    assert relative_change(before, Ground(model, data).outputs()) <= 1e-5
    entered = (data - model[0].input_mean) * model[0].input_scale
    by_channel = entered.transpose(0, 1).flatten(1)
    assert by_channel.square().mean(1).tolist() == pytest.approx([1.0] * 3, rel=1e-3)
    assert bool(model[0].input_mean.any()) == (padding == 0)


def test_an_action_standardises_its_own_layer_alone() -> None:
    torch.manual_seed(0)
    model = Two()
    STANDARDISE.carry_out(Subject(model, DATA), [Action("standardise", "b", (), "why")])
    assert [type(layer).__name__ for layer in (model.a, model.b)] == ["Linear", "StandardisedLinear"]


# The running statistics of BatchNorm.


def norm(mean: float, variance: float, **given: Any) -> nn.Sequential:
    """A BatchNorm that has seen batches of this mean and variance."""
    model = nn.Sequential(nn.BatchNorm1d(3, **given))
    model[0].running_mean.fill_(mean)
    model[0].running_var.fill_(variance)
    model[0].num_batches_tracked.fill_(9)
    return model.eval()


BATCHES = [
    torch.tensor([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]),
    torch.tensor([[3.0, 4.0, 5.0], [3.0, 4.0, 5.0], [7.0, 8.0, 9.0], [-1.0, 0.0, 1.0]]),
]
"""Each channel has the values m−2, m+2, m, m, m+4, m−4 of its mean m, 3, 4 or 5: variance 40/6."""


@pytest.mark.parametrize(("mean", "variance"), [(-6.0, 4.0), (14.0, 4.0), (4.0, 400.0), (4.0, 0.1)])
def test_how_stale_statistics_are_is_told_in_their_own_units(mean: float, variance: float) -> None:
    eps = 1e-5
    true, kept = 40 / 6 + eps, variance + eps
    shift = float(np.median(np.abs(np.array([3.0, 4.0, 5.0]) - mean))) / math.sqrt(kept)
    ratio = max(true / kept, kept / true)
    assert shift > MOST_SHIFT or ratio > MOST_RATIO
    told = stale(Ground(norm(mean, variance), BATCHES))["0"]
    assert told == f"the data's means are {shift:.3g} running deviations away, their variances {ratio:.3g} times off"


def test_statistics_are_not_stale_at_the_limit() -> None:
    at = norm(4 - MOST_SHIFT * 2, 4.0, eps=0.0)
    assert stale(Ground(at, BATCHES)) == {}
    at[0].running_mean -= 0.01
    assert list(stale(Ground(at, BATCHES))) == ["0"]
    assert stale(Ground(norm(4.0, 40 / 6 * 3.9), BATCHES)) == {}
    assert list(stale(Ground(norm(4.0, 40 / 6 * 4.1), BATCHES))) == ["0"]


def test_two_samples_tell_that_statistics_are_stale_and_one_does_not() -> None:
    model = norm(90.0, 4.0)
    assert stale(Ground(model, BATCHES[0][:1])) == {}
    assert list(stale(Ground(model, BATCHES[0]))) == ["0"]


class Unused(nn.Module):
    """Has a BatchNorm that does not run."""

    def __init__(self) -> None:
        super().__init__()
        self.runs, self.rests = norm(90.0, 4.0)[0], norm(7.0, 9.0)[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.runs(x)


def test_batches_of_one_sample_and_norms_that_do_not_run_are_left_out() -> None:
    model = Unused().eval()
    kept = copy.deepcopy(model.rests.state_dict())
    ESTIMATE_STATISTICS.carry_out(
        Subject(model, [*BATCHES, torch.full((1, 3), 1e6)]), [Action("estimate statistics", None, (), "stale")]
    )
    assert model.runs.running_mean.tolist() == pytest.approx([3.0, 4.0, 5.0])
    unbiased = [batch.var(0, correction=1) for batch in BATCHES]
    torch.testing.assert_close(model.runs.running_var, sum(unbiased) / 2)
    assert int(model.runs.num_batches_tracked) == 2
    assert all(torch.equal(value, kept[name]) for name, value in model.rests.state_dict().items())


def test_only_a_model_with_running_statistics_can_have_them_estimated() -> None:
    wanted = Action("estimate statistics", None, (), "stale")
    bare = nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False))
    able, left = ESTIMATE_STATISTICS.able(Subject(bare, BATCHES[0]), wanted)
    assert able is None
    assert left[0].reason == "it has no BatchNorm with running statistics"
    assert ESTIMATE_STATISTICS.able(Subject(norm(0.0, 1.0), BATCHES[0]), wanted) == (wanted, ())


# The optimizer.


class SpelledOut(nn.Module):
    """A normalisation in the user's own words."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / x.square().mean(-1, keepdim=True).sqrt()


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.gate(x))


class Masked(nn.Module):
    """A rectifier in the user's own words."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (x > 0)


@pytest.mark.parametrize(
    ("part", "applies"),
    [
        (nn.ReLU(), True),
        (Masked(), True),
        (nn.BatchNorm1d(3), False),
        (nn.LayerNorm(8), False),
        (nn.RMSNorm(8), False),
        (nn.GroupNorm(3, 3), False),
        (nn.InstanceNorm1d(3), False),
        (SpelledOut(), False),
        (Gated(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_sets_the_size_by_the_data_ends_what_is_known_of_a_step(part: nn.Module, applies: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), part, *(nn.Linear(8, 8) for _ in range(60))).eval()
    found = step_size(Ground(model, torch.randn(4, 3, 8)), torch.optim.Adam(model.parameters(), 3e-2))
    assert found > MOST if applies else found == 1.0


def test_a_parameter_of_one_number_begins_anew_too() -> None:
    parameter = nn.Parameter(torch.tensor(2.0))
    optimizer = torch.optim.Adam([parameter])
    for _ in range(3):
        parameter.grad = torch.tensor(0.5)
        optimizer.step()
    assert reset_slices(optimizer, parameter, torch.tensor(False)) == 2
    assert float(optimizer.state[parameter]["step"]) == 3.0
    assert reset_slices(optimizer, parameter, torch.tensor(True)) == 2
    assert {name: float(value) for name, value in optimizer.state[parameter].items()} == {
        "step": 0.0,
        "exp_avg": 0.0,
        "exp_avg_sq": 0.0,
    }


# What operations say of themselves.


def sick() -> nn.Sequential:
    """One unit without an output, one that is pushed below 0, a BatchNorm that has seen other data and is far off."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 2)).eval()
    with torch.no_grad():
        model[0].weight[2], model[0].bias[2] = 0.0, -1.0
        model[0].bias[3] = -9.0
        model[2].bias[:4] = 20.0
    model[2].num_batches_tracked.fill_(5)
    return model


ACTIONS = {
    "forget moments": Action("forget moments", None, (), "why"),
    "standardise": Action("standardise", "0", (), "why"),
    "estimate statistics": Action("estimate statistics", None, (), "why"),
    "level": Action("level", None, (), "why"),
    "recentre": Action("recentre", "1", (3,), "why"),
    "revive": Action("revive", "1", (2, 3), "why"),
    "recycle": Action("recycle", "1", (5,), "why"),
    "swap": Action("swap", "1", (), "why", 0.2),
    "rescale": Action("rescale", None, (), "why"),
    "reinitialise": Action("reinitialise", "1", (), "why"),
    "begin anew": Action("begin anew", None, (), "why", 0.1),
}


@pytest.mark.parametrize("kind", OPERATIONS)
def test_an_operation_keeps_the_function_if_and_only_if_it_says_so(kind: str) -> None:
    model, operation = sick(), OPERATIONS[kind]  # type: ignore[index]
    subject = Subject(model, DATA * 3 + 1)
    able, left = operation.able(subject, ACTIONS[kind])
    assert able is not None
    assert left == ()
    before = [each.clone() for each in subject.outputs]
    operation.carry_out(subject, [able])
    assert (relative_change(before, subject.outputs) <= 1e-5) == operation.keeps_function


@pytest.mark.parametrize("kind", OPERATIONS)
def test_what_an_operation_needs_and_promises_stands_in_the_documentation(kind: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "repair.md").read_text("utf-8")
    operation = OPERATIONS[kind]  # type: ignore[index]
    assert re.search(rf"^\| {kind} \| {re.escape(operation.needs)} \| {re.escape(operation.promises)} \|$", page, re.M)
