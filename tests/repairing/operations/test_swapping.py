"""Which rectifiers are swapped, why others are not, and what a swapped one keeps of the one before."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leaky.activation.torch import LeakyReLU
from leaky.repairing.operations.swapping import put_rectifier, refusal, swap
from leaky.repairing.subject import Subject

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


def refused(model: nn.Module, site: str, whole_module: bool = False) -> str | None:
    ground = Subject(model, X).ground
    return refusal(ground, ground.site(site), whole_module=whole_module)


def behind(module: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), module, nn.Linear(6, 2))


@pytest.mark.parametrize("module", [nn.ReLU(), nn.LeakyReLU(0.1), LeakyReLU(0.1)], ids=["ReLU", "torch's", "leaky's"])
def test_plain_rectifiers_are_swapped(module: nn.Module) -> None:
    assert refused(behind(module), "1") is None


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (LeakyReLU(0.1, clamp=2.0), "it has a clamp or learnable slopes of its own"),
        (LeakyReLU(0.1, learnable=True), "it has a clamp or learnable slopes of its own"),
        (nn.SiLU(), "it is a SiLU, and only a ReLU or a LeakyReLU is swapped"),
        (nn.ReLU6(), "it is a ReLU6, and only a ReLU or a LeakyReLU is swapped"),
    ],
    ids=["clamp", "learnable", "SiLU", "ReLU6"],
)
@pytest.mark.parametrize("whole_module", [False, True])
def test_others_are_refused_in_words(module: nn.Module, words: str, whole_module: bool) -> None:
    assert refused(behind(module), "1", whole_module) == words


def test_a_gain_of_its_own_is_refused_unless_the_module_is_meant_as_a_whole() -> None:
    model = behind(LeakyReLU(0.1, gain=2.0))
    assert refused(model, "1") == "it has a gain of its own"
    assert refused(model, "1", whole_module=True) is None


class Twice(nn.Module):
    """One module at two places, and a functional call."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.act = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.act(self.second(self.act(self.first(x)))) - 0.1)


def test_a_module_at_two_places_is_refused_unless_meant_as_a_whole_and_a_call_is_left_to_its_source() -> None:
    model = Twice()
    names = list(Subject(model, X).ground.structure.sites)
    shared = [name for name in names if name.startswith("act")]
    told = refused(model, shared[0])
    assert told is not None
    assert told.startswith("module act runs 2 times in one pass")
    assert refused(model, shared[0], whole_module=True) is None
    (call,) = [name for name in names if name not in shared]
    told = refused(model, call, whole_module=True)
    assert told is not None
    assert told.startswith("it is a call of relu at test_swapping.py:")


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("slope", [0.2, [0.1, 0.2, 0.3, 0.0, 0.5, 1.0]], ids=["one", "one a unit"])
def test_the_new_one_keeps_mode_and_memory_of_the_old(
    inplace: bool, training: bool, slope: float | list[float]
) -> None:
    model = behind(nn.ReLU(inplace=inplace).train(training))
    put_rectifier(model, "1", slope, 1)
    new = model.get_submodule("1")
    assert isinstance(new, nn.LeakyReLU)
    assert (new.inplace, new.training) == (inplace, training)
    z = torch.linspace(-3, 3, 12).reshape(2, 6)
    expected = torch.where(z > 0, z, torch.tensor(slope) * z)
    torch.testing.assert_close(new(z.clone()), expected)


def test_a_gain_is_kept_with_one_slope_and_with_many() -> None:
    z = torch.linspace(-3, 3, 12).reshape(2, 6)
    for slope in (0.2, [0.2] * 6):
        model = behind(nn.ReLU())
        put_rectifier(model, "1", slope, 1, gain=3.0)
        torch.testing.assert_close(model.get_submodule("1")(z), 3 * torch.where(z > 0, z, 0.2 * z))


class Forked(nn.Module):
    """What is rectified goes to a layer without a bias and to one with."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.layer, self.act = nn.Linear(4, 6), nn.ReLU()
        self.bare, self.last = nn.Linear(6, 3, bias=False), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.act(self.layer(x))
        return self.bare(h), self.last(h)


def test_the_mean_shift_goes_into_every_bias_behind_whether_or_not_another_layer_has_none() -> None:
    model = Forked()
    _, before = model(X)
    done = swap(model, "act", X, negative_slope=0.3)
    _, after = model(X)
    assert done.folded == ("last.bias",)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after.mean(0), before.mean(0))
