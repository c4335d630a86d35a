"""What users of forums build, written before any of it was run: `python -m benchmarks.causes --forums`.

"elsewhere" among the causes: no unit shows it, so that nothing above a note is right.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.causes import forums_networks as forums
from benchmarks.causes import last_networks as networks
from benchmarks.causes import reported_networks as reported
from benchmarks.causes.building import Side, Trouble, pair_of, side_of, train, width_of
from benchmarks.causes.last import BCE
from benchmarks.causes.troubles import CROSS, MSE, on_targets
from benchmarks.healthy import data
from benchmarks.healthy.networks import mlp


def _digits(seed: int) -> Callable[[], nn.Module]:
    return lambda: mlp(64, width_of(seed), width_of(seed), 10)


def targets_rolled_by_one(seed: int) -> Trouble:
    """Each sample with the target of its neighbour."""
    x, y = data.friedman(seed)
    net = lambda: mlp(10, width_of(seed), 1)  # noqa: E731
    return Trouble(
        side_of(seed, net, MSE, x, y.roll(1, 0), steps=100),
        side_of(seed, net, MSE, x, y),
        ("not-learning", "elsewhere"),
    )


def sigmoid_for_bytes(seed: int) -> Trouble:
    """Pixels of 0 to 255 as targets of a decoder that ends in a sigmoid."""
    x, _ = data.digits()
    pixels = torch.sigmoid(x)
    net = lambda: nn.Sequential(mlp(64, 32, 64), nn.Sigmoid())  # noqa: E731
    twin = side_of(seed, net, MSE, x, pixels, steps=900)
    return Trouble(side_of(seed, net, MSE, x, (pixels * 255).round()), twin, ("target-range",))


def rate_of_a_third(seed: int) -> Trouble:
    """Adam at a rate a hundred times too large."""
    x, y = data.friedman(seed)
    net = lambda: mlp(10, width_of(seed), width_of(seed), width_of(seed), 1)  # noqa: E731
    causes = ("dead", "silent-so-far", "died-in-training", "same-output", "growth")
    return Trouble(side_of(seed, net, MSE, x, y, rate=0.3), side_of(seed, net, MSE, x, y), causes)


def shut_gates(seed: int) -> Trouble:
    """Gates of a sigmoid that one bad step has shut."""
    x, y = data.digits()
    twin = side_of(seed, lambda: forums.Gated(width_of(seed)), CROSS, x, y)
    sick = copy.deepcopy(twin.model)
    with torch.no_grad():
        sick.gate.bias -= 60  # type: ignore[union-attr, operator]
    return Trouble(Side(sick, (x, y), CROSS), twin, ("saturated", "constant", "shut-gate"))


def one_odd_batch_last(seed: int) -> Trouble:
    """The last batch that BatchNorm saw was raw."""
    x, y = data.digits()
    twin = side_of(seed, lambda: reported.normed(width_of(seed), 0.1), CROSS, x, y)
    sick = copy.deepcopy(twin.model).train()
    sick(x[:64] * 300)
    return Trouble(Side(sick.eval(), (x, y), CROSS), twin, ("batchnorm-statistics",))


def softmax_over_positions(seed: int) -> Trouble:
    """A class for each step, whose probabilities sum to 1 over the steps."""
    x, _ = networks.drifts(seed)
    y = (x[:, :, 0] > 0).long() + (x[:, :, 1] > 0).long()
    loss = on_targets(lambda out, target: functional.nll_loss((out + 1e-9).log().transpose(1, 2), target))
    sick, twin = pair_of(
        seed, lambda dim: nn.Sequential(mlp(2, width_of(seed), 3), nn.Softmax(dim)), (1, 2), loss, x, y
    )
    return Trouble(sick, twin, ("loss-misfit",))


def everything_frozen(seed: int) -> Trouble:
    """`requires_grad_(False)` on the whole network in place of its backbone."""
    x, y = data.digits()
    torch.manual_seed(seed)
    sick = _digits(seed)().requires_grad_(False).eval()
    return Trouble(
        Side(sick, (x, y), CROSS), side_of(seed, _digits(seed), CROSS, x, y), ("no-gradient", "not-learning")
    )


def layers_in_a_list(seed: int) -> Trouble:
    """Hidden layers in a Python list: they are no parameters of the model, and never learn."""
    x, y = data.smooth(seed)
    sick, twin = pair_of(seed, lambda listed: forums.Stacked(width_of(seed), listed), (True, False), MSE, x, y)
    return Trouble(sick, twin, ("unregistered",))


def hard_choice_inside(seed: int) -> Trouble:
    """A code chosen by argmax between encoder and decoder."""
    x, y = data.digits()
    sick, twin = pair_of(seed, lambda hard: forums.Coded(width_of(seed), hard), (True, False), CROSS, x, y)
    return Trouble(sick, twin, ("no-gradient",))


def decayed_by_the_optimizer(seed: int) -> Trouble:
    """Adam with a weight decay of 1: the weights go to nothing."""
    x, y = data.digits()
    net = lambda: mlp(64, *[width_of(seed)] * 3, 10)  # noqa: E731
    torch.manual_seed(seed)
    sick, twin = net(), side_of(seed, net, CROSS, x, y)
    optimizer = torch.optim.SGD(sick.parameters(), 0.05, weight_decay=0.5)
    for _ in range(400):
        optimizer.zero_grad()
        functional.cross_entropy(sick(x[:256]), y[:256]).backward()
        optimizer.step()
    causes = ("decay", "same-output", "vanishing-gradient", "constant", "dead", "locked-negative", "locked-positive")
    return Trouble(Side(sick.eval(), (x, y), CROSS), twin, causes)


def rectified_before_its_sigmoid(seed: int) -> Trouble:
    """A rectifier before the last sigmoid: no probability is below a half."""
    x, y = networks.action_values(seed)
    labels = (y[:, :1] > y[:, :1].median()).float()
    loss = on_targets(functional.binary_cross_entropy)
    sick, twin = pair_of(
        seed,
        lambda last: nn.Sequential(mlp(4, width_of(seed), 1), last(), nn.Sigmoid()),
        (nn.ReLU, nn.Identity),
        loss,
        x,
        labels,
    )
    return Trouble(sick, twin, ("output-rectifier", "target-range"))


def plate_of_rectifiers(seed: int) -> Trouble:
    """Poisson's equation in the plane, by forward differentiation, with leaky rectifiers."""
    points = torch.rand(500, 2, generator=torch.Generator().manual_seed(seed))
    sides = []
    for act in (nn.LeakyReLU, nn.Tanh):
        torch.manual_seed(seed)
        model = mlp(2, width_of(seed), width_of(seed), 1, act=act)
        loss = forums.plate(model)
        sides.append(Side(train(model, loss, points, steps=100, seed=seed), (points,), loss))
    return Trouble(sides[0], sides[1], ("no-curvature",))


def year_as_a_column(seed: int) -> Trouble:
    """A column that is 2026 in every row."""
    x, y = data.friedman(seed)
    dated = torch.cat([x, torch.full((len(x), 1), 2026.0)], 1)
    net = lambda columns: lambda: mlp(columns, width_of(seed), width_of(seed), 1)  # noqa: E731
    sick, twin = side_of(seed, net(11), MSE, dated, y, rate=0.01), side_of(seed, net(10), MSE, x, y, rate=0.01)
    return Trouble(sick, twin, ("input-scale", "input-offset", "input-constant", "input-outliers"))


def logarithm_of_zero(seed: int) -> Trouble:
    """Counts as logarithms: −∞ where a count is 0."""
    x, y = data.friedman(seed)
    counts = (x.abs() * 3).floor() + 1
    twin = side_of(seed, lambda: mlp(10, width_of(seed), 1), MSE, counts.log(), y)
    holes = counts.clone()
    holes[5 + seed, 3] = 0
    return Trouble(
        Side(copy.deepcopy(twin.model), (holes.log(), y), MSE), twin, ("non-finite", "input-outliers", "input-scale")
    )


def rate_ten_times_too_small(seed: int) -> Trouble:
    x, y = data.friedman(seed)
    net = lambda: mlp(10, width_of(seed), width_of(seed), 1)  # noqa: E731
    return Trouble(
        side_of(seed, net, MSE, x, y, rate=1e-5), side_of(seed, net, MSE, x, y), ("not-learning", "elsewhere")
    )


def far_embeddings(seed: int) -> Trouble:
    """Embeddings drawn fifty times too large in front of a tanh."""
    x, y = networks.words(seed)
    twin = side_of(seed, lambda: forums.Tokens(width_of(seed), 1.0), CROSS, x, y)
    return Trouble(
        side_of(seed, lambda: forums.Tokens(width_of(seed), 50.0), CROSS, x, y, steps=100),
        twin,
        ("saturated", "saturated-attention"),
    )


def divided_twice(seed: int) -> Trouble:
    """Pixels divided by 255 by the loader, and again by the user."""
    x, y = data.digits()
    pixels = (x - x.min()) / (x.max() - x.min())
    net = lambda: mlp(64, *[width_of(seed)] * 4, 10)  # noqa: E731
    sick = side_of(seed, net, CROSS, pixels / 255, y, steps=80, rate=1e-3)
    return Trouble(sick, side_of(seed, net, CROSS, pixels, y), ("input-scale",))


def drops_what_it_should_keep(seed: int) -> Trouble:
    """Dropout of .95, by one who took it for the share to keep."""
    x, y = data.friedman(seed)
    sick, twin = pair_of(
        seed,
        lambda p: nn.Sequential(mlp(10, 32, 32), nn.ReLU(), nn.Dropout(p), nn.Linear(32, 1)),
        (0.95, 0.05),
        MSE,
        x,
        y,
    )
    return Trouble(sick, twin, ("not-learning", "elsewhere"))


def blown_up_attention(seed: int) -> Trouble:
    """Queries and keys drawn too large: every token attends to one, and nothing tells the scores so."""
    x, y = networks.words(seed)
    twin = side_of(seed, lambda: forums.Attending(width_of(seed), 1.0), CROSS, x, y)
    return Trouble(
        side_of(seed, lambda: forums.Attending(width_of(seed), 15.0), CROSS, x, y, steps=100),
        twin,
        ("saturated", "saturated-attention"),
    )


def slope_of_one(seed: int) -> Trouble:
    """A leaky rectifier of slope 1: the network is linear."""
    x, y = data.moons(seed)
    y = y.reshape(-1).long()
    sick, twin = pair_of(
        seed, lambda a: mlp(2, width_of(seed), width_of(seed), 2, act=lambda: nn.LeakyReLU(a)), (1.0, 0.01), CROSS, x, y
    )
    return Trouble(sick, twin, ("practically-linear",))


def weights_that_broadcast(seed: int) -> Trouble:
    """A weight a sample, of shape (n), on losses of shape (n, 1)."""
    x, y = networks.pairs(seed)
    weight = torch.rand(len(x), generator=torch.Generator().manual_seed(seed)) + 0.5

    def loss(out: Any, batch: Any) -> Tensor:
        each = functional.binary_cross_entropy_with_logits(out, batch[1], reduction="none")
        return (each * batch[2]).mean()

    net = lambda: networks.Pairs(width_of(seed))  # noqa: E731
    sick = side_of(seed, net, loss, x, y, weight)
    return Trouble(sick, side_of(seed, net, loss, x, y, weight[:, None]), ("target-shape",))


def labels_of_minus_one(seed: int) -> Trouble:
    """−1 and 1 as targets of binary cross-entropy."""
    x, y = networks.pairs(seed)
    net = lambda: networks.Pairs(width_of(seed))  # noqa: E731
    return Trouble(
        side_of(seed, net, BCE, x, 2 * y - 1), side_of(seed, net, BCE, x, y), ("target-range", "loss-misfit")
    )


def reshaped_where_transposed(seed: int) -> Trouble:
    """Classes of steps reshaped, not transposed, for cross-entropy: what is compared are other samples' scores."""
    x, _ = networks.drifts(seed)
    y = (x[:, :, 0] > 0).long() + (x[:, :, 1] > 0).long()
    sides = []
    for loss in (
        on_targets(lambda out, target: functional.cross_entropy(out.reshape(len(out), 3, -1), target)),
        on_targets(lambda out, target: functional.cross_entropy(out.transpose(1, 2), target)),
    ):
        sides.append(side_of(seed, lambda: mlp(2, width_of(seed), 3), loss, x, y))
    return Trouble(sides[0], sides[1], ("not-learning", "elsewhere"))


TROUBLES: tuple[Callable[[int], Trouble], ...] = (
    targets_rolled_by_one, sigmoid_for_bytes, rate_of_a_third, shut_gates, one_odd_batch_last, softmax_over_positions,
    everything_frozen, layers_in_a_list, hard_choice_inside, decayed_by_the_optimizer, rectified_before_its_sigmoid,
    plate_of_rectifiers, year_as_a_column, logarithm_of_zero, rate_ten_times_too_small, far_embeddings, divided_twice,
    drops_what_it_should_keep, blown_up_attention, slope_of_one, weights_that_broadcast, labels_of_minus_one,
    reshaped_where_transposed,
)  # fmt: skip
