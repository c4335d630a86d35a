"""What an operation does to chosen units, and to nothing beside them, worked out by hand."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

import leaky
from leaky.errors import InputError
from leaky.repairing.ground import Ground, relative_change
from leaky.repairing.operations.recentring import recentre
from leaky.repairing.operations.reinitialise import REINITIALISE
from leaky.repairing.operations.reviving import REVIVE, revive
from leaky.repairing.operations.swapping import slopes_of
from leaky.repairing.plan import Action
from leaky.repairing.subject import Subject

DATA = torch.randn(500, 6, generator=torch.Generator().manual_seed(1))


def mlp(*widths: int, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    sizes = (6, *widths)
    hidden = [
        part for size, width in itertools.pairwise(sizes) for part in (nn.Linear(size, width, bias=bias), nn.ReLU())
    ]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], 2))


def pre_activations(layer: nn.Module, data: torch.Tensor = DATA) -> np.ndarray:
    with torch.no_grad():
        return layer(data).double().numpy()


def test_units_that_come_back_with_what_stands_before_them_are_not_shifted() -> None:
    model = mlp(16, 8)
    healthy = copy.deepcopy(model)
    with torch.no_grad():
        model[0].bias -= 50.0
        for layers in (model, healthy):
            layers[2].bias[:] = -0.01  # all that a unit behind a silent layer sees
    shifted = recentre(model, {"1": range(16), "3": range(8)}, DATA)
    assert shifted["1"] == tuple(range(16))
    assert not shifted.get("3")
    assert torch.equal(model[2].bias, healthy[2].bias)


def test_only_neighbours_that_fire_say_where_a_unit_is_shifted_to() -> None:
    model = mlp(16)
    with torch.no_grad():
        model[0].bias[:10] -= 50.0
    assert recentre(model, {"1": range(3)}, DATA) == {"1": (0, 1, 2)}
    z = pre_activations(model[0])
    ratio = z.mean(0) / z.std(0)
    assert ratio[:3] == pytest.approx([np.median(ratio[10:])] * 3, abs=1e-3)


class Sum(nn.Module):
    """Two layers make each unit together."""

    def __init__(self, first: nn.Module, second: nn.Module, units: int) -> None:
        super().__init__()
        self.first, self.second, self.act, self.last = first, second, nn.ReLU(), nn.Linear(units, 2)

    def before(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x) + self.second(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.act(self.before(x)))


def test_of_two_layers_that_make_a_unit_the_one_with_a_bias_shifts_it() -> None:
    torch.manual_seed(0)
    model = Sum(nn.Linear(6, 8, bias=False), nn.Linear(6, 8), 8)
    with torch.no_grad():
        model.second.bias[:2] -= 50.0
    assert recentre(model, {"act": [0, 1]}, DATA) == {"act": (0, 1)}
    z = pre_activations(model.before)  # type: ignore[arg-type]
    ratio = z.mean(0) / z.std(0)
    assert ratio[:2] == pytest.approx([np.median(ratio[2:])] * 2, abs=1e-3)


def test_a_unit_behind_a_norm_and_a_bare_layer_is_centred_by_the_layer_that_has_a_bias() -> None:
    torch.manual_seed(0)
    model = Sum(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8)), nn.Linear(6, 8), 8).eval()
    with torch.no_grad():
        model.second.bias[3] = -50.0
    before = Ground(model, DATA).outputs()
    assert revive(model, {"act": [3]}, DATA, seed=0).revived == {"act": (3,)}
    assert relative_change(before, Ground(model, DATA).outputs()) <= 1e-6
    assert pre_activations(model.before)[:, 3].mean() == pytest.approx(0, abs=1e-5)  # type: ignore[arg-type]


def test_a_frozen_bias_on_either_side_keeps_a_unit_from_being_revived() -> None:
    for frozen in ("0.bias", "2.bias"):
        model = mlp(8)
        with torch.no_grad():
            model[0].bias[2] = -50.0
        dict(model.named_parameters())[frozen].requires_grad_(False)
        assert revive(model, {"1": [2]}, DATA).refused == {
            "1": {2: f"{frozen} is frozen, so that its units could not learn"}
        }


def test_a_unit_that_gives_exactly_0_is_revived_in_front_of_padding_and_of_no_bias() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1, bias=False))
    with torch.no_grad():
        model[0].bias[1] = -50.0
    data = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    before = model(data).detach()
    assert revive(model, {"1": [1]}, data, seed=0).revived == {"1": (1,)}
    assert torch.equal(model(data).detach(), before)


def test_what_a_unit_gives_on_average_must_find_a_bias_to_go_to() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2, bias=False))
    assert Ground(model, DATA).site("1").units == 8
    done = revive(model, {"1": [0]}, DATA, approximate=True)
    assert done.refused == {"1": {0: "it is not 0, and 2.weight has no bias to take what it gives"}}


def test_each_reason_is_told_with_its_own_units() -> None:
    model = mlp(8)
    with torch.no_grad():
        model[0].bias[2] = -50.0
    able, left = REVIVE.able(Subject(model, DATA), Action("revive", "1", (0, 2, 99), "why"))
    assert able is not None
    assert able.units == (2,)
    told = {each.reason: each.units for each in left}
    assert told.pop("there is no such unit") == (99,)
    assert list(told.values()) == [(0,)]


def test_where_no_neighbour_is_healthy_a_unit_is_as_wide_as_1() -> None:
    model = mlp(8)
    with torch.no_grad():
        model[0].weight[:], model[0].bias[:] = 0.0, -5.0
    revive(model, {"1": range(8)}, DATA, seed=0)
    z = pre_activations(model[0])
    assert z.std(0) == pytest.approx([1.0] * 8, rel=1e-3)
    assert z.mean(0) == pytest.approx([0.0] * 8, abs=1e-5)


class Shortcut(nn.Module):
    """Other data are added to what makes a unit."""

    def __init__(self) -> None:
        super().__init__()
        self.branch, self.act, self.last = nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.act(self.branch(x) + x))


def test_beside_a_shortcut_new_weights_stay_as_they_were_drawn_and_the_bias_centres_both() -> None:
    torch.manual_seed(0)
    model = Shortcut()
    with torch.no_grad():
        model.branch.bias[2] = -50.0
    assert revive(model, {"act": [2]}, DATA, seed=7).revived == {"act": (2,)}
    drawn = torch.randn(6, generator=torch.Generator().manual_seed(7)) * math.sqrt(2 / 6)
    torch.testing.assert_close(model.branch.weight[2].detach(), drawn)
    z = pre_activations(lambda x: model.branch(x) + x)  # type: ignore[arg-type]
    assert z[:, 2].mean() == pytest.approx(0, abs=1e-5)


def test_data_that_are_all_the_same_leave_new_weights_as_they_were_drawn() -> None:
    model, data = mlp(8), torch.ones(40, 6)
    with torch.no_grad():
        model[0].bias[3] = -50.0
    revive(model, {"1": [3]}, data, seed=0)
    weight = model[0].weight[3].detach()
    assert float(weight.square().mean().sqrt()) == pytest.approx(math.sqrt(2 / 6), rel=0.8)
    assert pre_activations(model[0], data)[:, 3] == pytest.approx([0.0] * 40, abs=1e-6)


def wide(**norm: bool) -> tuple[nn.Sequential, list[torch.Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(400, 8), nn.BatchNorm1d(8, **norm), nn.ReLU(), nn.Linear(8, 2)).eval()
    with torch.no_grad():
        model[0].weight[3], model[1].bias[3] = 0.0, -50.0
    generator = torch.Generator().manual_seed(0)
    return model, [torch.randn(64, 400, generator=generator) + 1, torch.randn(64, 400, generator=generator) - 1]


def test_weights_behind_a_norm_are_drawn_as_he_says_and_its_channel_has_the_first_batchs_statistics() -> None:
    model, batches = wide()
    kept = copy.deepcopy(model[1].state_dict())
    assert revive(model, {"2": [3]}, batches, seed=0).revived == {"2": (3,)}
    drawn = model[0].weight[3].detach()
    assert float(drawn.std()) == pytest.approx(math.sqrt(2 / 400), rel=0.15)
    assert float(drawn.abs().max()) < 5 * math.sqrt(2 / 400)
    z = pre_activations(model[0], batches[0])
    assert float(model[1].running_mean[3]) == pytest.approx(z.mean(0)[3], rel=1e-4)
    assert float(model[1].running_var[3]) == pytest.approx(z.var(0)[3], rel=1e-4)
    rest = [0, 1, 2, 4, 5, 6, 7]
    assert all(torch.equal(model[1].state_dict()[name][rest], kept[name][rest]) for name in kept if kept[name].ndim)


def test_a_norm_without_running_statistics_keeps_none() -> None:
    model, batches = wide(track_running_stats=False)
    with torch.no_grad():
        model[1].weight[3], model[1].bias[3] = 0.0, -5.0
    assert revive(model, {"2": [3]}, batches, seed=0).revived == {"2": (3,)}
    assert [float(p.detach()[3]) for p in (model[1].weight, model[1].bias)] == [1.0, 0.0]
    assert float(leaky.observe(model, batches).site("2").firing_rate[3]) > 0.1


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_a_layer_anew_has_the_deviation_of_its_slope_and_no_past(slope: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.LeakyReLU(slope), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(3):
        model(DATA).square().sum().backward()
        optimizer.step()
    REINITIALISE.carry_out(
        Subject(model.eval(), DATA, optimizer=optimizer), [Action("reinitialise", "2", (), "trouble")]
    )
    weight = model[0].weight.detach()
    assert float(weight.square().mean().sqrt()) == pytest.approx(math.sqrt(2 / (1 + slope**2) / 6), rel=1e-5)
    assert not model[0].bias.detach().any()
    norm = model[1]
    starts = (norm.weight, 1), (norm.bias, 0), (norm.running_mean, 0), (norm.running_var, 1)
    assert all(bool((value == start).all()) for value, start in starts)
    assert {id(p) for p in optimizer.state} == {id(p) for p in model[3].parameters()}


def test_a_layer_of_which_the_bias_alone_is_frozen_is_not_begun_anew() -> None:
    for frozen, kept in ("0.bias", True), ("2.bias", False):
        model = mlp(8)
        dict(model.named_parameters())[frozen].requires_grad_(False)
        able, left = REINITIALISE.able(Subject(model, DATA), Action("reinitialise", "1", (), "trouble"))
        assert (able is None) == kept
        assert [each.reason for each in left] == [f"{frozen} is frozen, so that its units could not learn"] * kept
    able, _ = REINITIALISE.able(Subject(mlp(8, bias=False), DATA), Action("reinitialise", "1", (), "trouble"))
    assert able is not None


@pytest.mark.parametrize(
    ("act", "kept"),
    [
        (nn.ReLU(), [0.0] * 4),
        (nn.LeakyReLU(0.25), [0.25] * 4),
        (nn.PReLU(init=0.25), [0.25] * 4),
        (leaky.LeakyReLU([0.25, 0.5, 0.125, 0.0]), [0.25, 0.5, 0.125, 0.0]),
    ],
    ids=["none", "a number", "one that is learned", "one a unit"],
)
def test_units_that_get_no_new_slope_keep_their_own(act: nn.Module, kept: list[float]) -> None:
    torch.manual_seed(0)
    site = Ground(nn.Sequential(nn.Linear(6, 4), act, nn.Linear(4, 2)), DATA).site("1")
    assert slopes_of(site, 0.75, None) == slopes_of(site, 0.75, range(4)) == 0.75
    assert slopes_of(site, 0.75, [2, 0]) == (0.75, kept[1], 0.75, kept[3])
    with pytest.raises(InputError, match=r"units of '1' must be below 4, not \[4\]"):
        slopes_of(site, 0.75, [0, 4])
