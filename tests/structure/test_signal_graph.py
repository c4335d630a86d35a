"""The graph that theory gets of a model, against graphs written by hand and against simulation."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from tests.observation import networks
from torch import Tensor, nn

import leaky
from leaky import analyse, theory
from leaky.errors import InputError


def plain(depth: int, width: int = 8, alpha: float = 0.0) -> nn.Sequential:
    return nn.Sequential(*(part for _ in range(depth) for part in (nn.Linear(width, width), nn.LeakyReLU(alpha))))


class Weighted(nn.Module):
    """A block of three-layer branches with a weighted shortcut, which a transition puts behind a rectifier."""

    def __init__(self, transition: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.transition = nn.Linear(4, 4) if transition else None

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.layers:
            y = layer(F.relu(y))
        return 0.6 * (x if self.transition is None else self.transition(F.relu(x))) + 0.8 * y


class Towers(nn.Module):
    """Two branches of another depth, concatenated; the deeper one is the wider."""

    def __init__(self) -> None:
        super().__init__()
        self.short, self.long = nn.Linear(6, 2), plain(5, 6)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.cat([F.relu(self.short(x)), self.long(x)], 1))


@pytest.mark.parametrize(("depth", "expected"), [(20, 0.1813802775), (50, 0.4305229485), (100, 0.5704395311)])
def test_a_plain_model_has_the_slope_of_its_depth(depth: int, expected: float) -> None:
    assert theory.tailored_slope(analyse(plain(depth))).negative_slope == pytest.approx(expected, abs=5e-11)


def test_a_residual_model_has_the_published_slope() -> None:
    """Blocks 3-4-23-3, shortcut weight .6, transitions behind a rectifier, one final rectifier, target .75."""
    blocks = [Weighted(index == 0) for group in (3, 4, 23, 3) for index in range(group)]
    found = theory.tailored_slope(analyse(nn.Sequential(nn.Linear(4, 4), *blocks, nn.ReLU(), nn.Linear(4, 2))), 0.75)
    assert found.negative_slope == pytest.approx(0.62918003, abs=5e-9)
    assert found.output_scale == pytest.approx(1.19699655, abs=5e-9)


def test_concatenated_branches_count_by_their_width() -> None:
    for alpha in (0.0, 0.3):
        short, long = (theory.global_correlation(depth, alpha) for depth in (1, 5))
        expected = theory.correlation_map(0.25 * short + 0.75 * long, alpha)
        assert theory.global_correlation(analyse(Towers()), alpha) == pytest.approx(expected, abs=1e-14)
        assert theory.worst_correlation(analyse(Towers()), alpha) == pytest.approx(max(expected, long), abs=1e-14)


def test_a_target_out_of_reach_gives_the_reachable_value() -> None:
    found = theory.tailored_slope(analyse(plain(10)))
    assert (found.reachable, found.negative_slope) == (False, 0.0)
    assert found.correlation == pytest.approx(0.8715355160, abs=5e-11)


def test_what_cannot_be_derived_is_named() -> None:
    with pytest.raises(InputError, match=r"native_batch_norm in blocks.0.bn1 takes a mean over the samples away"):
        theory.tailored_slope(analyse(networks.ResNet()))
    with pytest.raises(InputError, match=r"1 is a GELU, whose correlation map is not the leaky ReLU's"):
        theory.tailored_slope(analyse(nn.Sequential(nn.Linear(6, 6), nn.GELU())))
    with pytest.raises(InputError, match="at least one rectifier"):
        theory.tailored_slope(analyse(nn.Linear(6, 6)))


def test_what_is_taken_for_granted_is_said() -> None:
    pooled = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 3), nn.ReLU())
    assert theory.tailored_slope(analyse(pooled)).assumptions == (
        "pooling is taken to keep the correlation and the second moment",
    )


def test_leakys_own_function_with_a_gain_counts_once() -> None:
    model = nn.Sequential(nn.Linear(8, 8), leaky.LeakyReLU(0.2, gain=2.0), nn.Linear(8, 8), nn.ReLU())
    with torch.no_grad():
        model[2].bias.zero_()
    first, second = theory.signal_propagation(analyse(model)).sites
    square = float(model[2].weight.detach().double().square().mean())
    assert second.second_moment == pytest.approx(first.second_moment * 4 * (1 + 0.2**2) / 2 * 8 * square)


def test_leakys_own_function_with_slopes_of_which_some_are_0_counts_once() -> None:
    model = nn.Sequential(
        *(part for _ in range(20) for part in (nn.Linear(4, 4), leaky.LeakyReLU([0.0, 0.1, 0.2, 0.0])))
    )
    assert theory.tailored_slope(analyse(model)).negative_slope == pytest.approx(0.1813802775, abs=5e-11)


@pytest.mark.parametrize("alpha", [0.0, 0.2, 0.5])
def test_signals_against_simulation(alpha: float) -> None:
    """Second moment, correlation and gradient of 30 wide networks, within 3 standard errors of the prediction."""
    torch.manual_seed(0)
    x = torch.randn(2, 256)
    x[1] -= x[0] * (x[0] @ x[1]) / (x[0] @ x[0])
    x *= 16 / x.norm(dim=1, keepdim=True)
    second, correlation, gradient, predicted = [], [], [], []
    for seed in range(30):
        model = nn.Sequential(*plain(6, 256, alpha), nn.Linear(256, 256))
        leaky.initialize(model, seed=seed)
        z = model[:11](x)  # up to the sixth layer, in front of the site "11"
        h = model[11](z)
        g = torch.autograd.grad(model[12](h), h, torch.randn(2, 256))[0]
        second.append(z.detach().square().mean())
        correlation.append(F.cosine_similarity(z[0], z[1], dim=0).detach())
        gradient.append(g.square().mean())
        site = theory.signal_propagation(analyse(model)).sites[-1]
        predicted.append((site.second_moment, site.correlation, site.gradient))
    for seen, expected in zip((second, correlation, gradient), zip(*predicted, strict=True), strict=True):
        difference = torch.stack(seen) - torch.tensor(expected)
        error = float(difference.std()) / math.sqrt(len(difference))
        assert abs(float(difference.mean())) < 3 * error + 0.01


def test_residual_sums_and_norms_in_the_prediction() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.b = nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            x = x + F.relu(self.a(x))
            return F.relu(self.b(self.norm(x)))

    model = Net()
    with torch.no_grad():
        model.a.weight.fill_(0.5)
        model.a.bias.zero_()
        model.norm.weight.fill_(3.0)
        model.b.weight.fill_(0.25)
        model.b.bias.fill_(1.0)
    found = theory.signal_propagation(analyse(model), second_moment=2.0)
    # a: 8·.25·2 = 4; sum: 2 + 2; norm: 9; b: 8·.0625·9 + 1
    assert [site.second_moment for site in found.sites] == pytest.approx([4.0, 5.5])
    assert [site.depth for site in found.sites] == [1, 2]
    assert [site.site.partition(" ")[0] for site in found.sites] == ["relu#1", "relu#2"]


MOVED = {
    "shuffled": lambda h: F.channel_shuffle(h, 4),
    "repeated": lambda h: h.repeat(1, 3, 1, 1),
    "each repeated": lambda h: h.repeat_interleave(3, 1),
    "turned round": lambda h: h.flip(1).roll(2, 1),
}


@pytest.mark.parametrize("how", MOVED)
def test_what_only_puts_units_elsewhere_is_followed_by_theory_as_by_the_units_numbers(how: str) -> None:
    """Channels that hold their own number, sent through the same call, tell which unit each input of a weight is."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.act, self.b = nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(len(numbers), 6, 1)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.b(MOVED[how](self.act(self.a(x)))))

    numbers = MOVED[how](torch.arange(8.0)[None, :, None, None]).flatten()
    torch.manual_seed(0)
    model = Net()
    analysis = analyse(model, torch.randn(4, 3, 2, 2))
    (taken,) = analysis.site("act").taken
    assert taken.weight == "b.weight"
    assert torch.equal(taken.owner, numbers.long()[None, :, None, None].expand(taken.owner.shape))
    found = theory.signal_propagation(analysis)
    assert found.not_derived == ()
    second = [float(layer.weight.detach().square().mean()) * layer.in_channels for layer in (model.a, model.b)]
    biases = [float(layer.bias.detach().square().mean()) for layer in (model.a, model.b)]
    at_a = second[0] + biases[0]
    expected = [at_a, second[1] * at_a / 2 + biases[1]]
    assert [site.second_moment for site in found.sites] == pytest.approx(expected, rel=1e-5)


def test_theory_is_light_until_a_model_comes() -> None:
    import subprocess
    import sys

    program = "import sys; from leaky import theory; theory.tailored_slope(20); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
