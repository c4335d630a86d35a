"""Fourteen further kinds, written when those of `asked` had been mended: `python -m benchmarks.causes --wondered`.

"elsewhere" among the causes: model, batch and loss do not show it, so that nothing above a note is right.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.causes import asked_networks as asked
from benchmarks.causes import last_networks as networks
from benchmarks.causes.building import Side, Trouble, pair_of, side_of, width_of
from benchmarks.causes.troubles import CROSS, MSE, on_targets
from benchmarks.healthy import data
from benchmarks.healthy.networks import mlp

UNSEEN = ("elsewhere", "not-learning")


class Behind(nn.Module):
    """A network and what is done with what it gives."""

    def __init__(self, body: nn.Module, then: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.then = body, then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.body(x))


class Weighted(nn.Module):
    """Attention whose scores are multiplied by a number."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.embed, self.qkv, self.out, self.scale = (
            nn.Embedding(50, width),
            nn.Linear(width, 3 * width),
            mlp(width, width, 2),
            scale,
        )

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(self.embed(tokens)).chunk(3, -1)
        return self.out(((self.scale * q @ k.mT).softmax(-1) @ v).mean(1))  # type: ignore[no-any-return]


def temperature_of_nothing(seed: int) -> Trouble:
    """'All logits are 0': they are multiplied by a scale that began at 0."""
    x, y = data.digits()
    build = lambda scale: Behind(mlp(64, width_of(seed), 10), lambda z: scale * z)  # noqa: E731
    sick, twin = pair_of(seed, build, (0.0, 2.0), CROSS, x, y)
    return Trouble(sick, twin, ("same-output", "no-gradient"))


def number_of_the_row(seed: int) -> Trouble:
    """'R² is negative': the index of the table stayed in as a column, 0 to 1,199 times a thousand."""
    x, y = data.friedman(seed)
    indexed = torch.cat([x, 1000 * torch.arange(len(x)).float()[:, None]], 1)
    sick = side_of(seed, lambda: mlp(11, width_of(seed), width_of(seed), 1), MSE, indexed, y)
    twin = side_of(seed, lambda: mlp(10, width_of(seed), width_of(seed), 1), MSE, x, y)
    return Trouble(sick, twin, ("input-scale", "input-offset"))


def one_word_is_not_a_number(seed: int) -> Trouble:
    """'NaN for some sentences': one row of the embedding was lost."""
    x, y = networks.words(seed)
    twin = side_of(seed, partial(Weighted, width_of(seed), 0.2), CROSS, x, y)
    sick = copy.deepcopy(twin.model)
    with torch.no_grad():
        sick.embed.weight[seed] = torch.nan  # type: ignore[union-attr, index, operator]
    return Trouble(Side(sick, (x, y), CROSS), twin, ("non-finite",))


def clipped_at_the_end(seed: int) -> Trouble:
    """'Large values are never predicted': a Hardtanh behind a regression whose targets reach 3."""
    x, y = data.friedman(seed)
    build = lambda last: nn.Sequential(mlp(10, width_of(seed), 1), last())  # noqa: E731
    sick, twin = pair_of(seed, build, (nn.Hardtanh, nn.Identity), MSE, x, y)
    return Trouble(sick, twin, ("target-range", "output-rectifier"))


def sigmoid_driven_far_out(seed: int) -> Trouble:
    """'The loss stays at 50': the last layer was drawn a thousand times too large, in front of a sigmoid."""
    x, y = data.moons(seed)
    loss = on_targets(functional.binary_cross_entropy)
    twin = side_of(seed, lambda: nn.Sequential(mlp(2, width_of(seed), 1), nn.Sigmoid()), loss, x, y)
    torch.manual_seed(seed)
    sick = nn.Sequential(mlp(2, width_of(seed), 1), nn.Sigmoid())
    with torch.no_grad():
        sick[0][-1].weight *= 1000  # type: ignore[index, operator]
    causes = ("saturated", "no-gradient", "vanishing-gradient", "growth", "exploding-gradient")
    return Trouble(Side(sick.eval(), (x, y), loss), twin, causes)


def gru_that_keeps_its_state(seed: int) -> Trouble:
    """'The GRU predicts one number': the biases of its update gate are 40, so that the state stays 0."""
    x, y = networks.drifts(seed)
    width = width_of(seed)
    twin = side_of(seed, partial(asked.Recurrent, width, nn.GRU, True), MSE, x, y)
    sick = copy.deepcopy(twin.model)
    with torch.no_grad():
        sick.cell.bias_ih_l0[width : 2 * width] = 40  # type: ignore[union-attr, index, operator]
    return Trouble(Side(sick, (x, y), MSE), twin, ("shut-gate",))


def norm_of_weight_zero(seed: int) -> Trouble:
    """'Constant after some epochs': a weight decay took the last LayerNorm's weight to 0."""
    x, y = data.friedman(seed)
    width = width_of(seed)
    build = lambda: nn.Sequential(mlp(10, width, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, 1))  # noqa: E731
    twin = side_of(seed, build, MSE, x, y)
    sick = copy.deepcopy(twin.model)
    with torch.no_grad():
        sick[1].weight.zero_()  # type: ignore[index, union-attr, operator]
    return Trouble(Side(sick, (x, y), MSE), twin, ("constant", "same-output"))


def biases_of_fifty(seed: int) -> Trouble:
    """'No better than linear regression': biases were drawn at 50, so that no rectifier is ever off."""
    x, y = data.moons(seed)
    y = y.reshape(-1).long()

    def build(bias: float) -> nn.Module:
        model = mlp(2, width_of(seed), width_of(seed), 2)
        for layer in (model[0], model[2]):
            nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
        return model

    sides = []
    for bias, steps in ((50.0, 30), (0.0, 300)):
        sides.append(side_of(seed, partial(build, bias), CROSS, x, y, steps=steps))
    return Trouble(sides[0], sides[1], ("locked-positive", "output-imbalance", "practically-linear"))


def words_as_numbers(seed: int) -> Trouble:
    """'Text classification at chance': the numbers of words, up to 30,000, given to a linear layer."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 30_000, (1500, 8), generator=g).float()
    y = ((x < 15_000).sum(1) > 4).long()
    net = lambda: mlp(8, width_of(seed), width_of(seed), 2)  # noqa: E731
    sick = side_of(seed, net, CROSS, x, y, rate=1e-2, steps=100)
    return Trouble(sick, side_of(seed, net, CROSS, (x - 15_000) / 8660, y), ("input-scale", "input-offset"))


def product_of_probabilities(seed: int) -> Trouble:
    """'The likelihood is 0': a product of two hundred probabilities in place of the sum of logarithms."""
    x, y = data.friedman(seed)
    target = y - y.min() + 0.1

    def product(z: Tensor) -> Tensor:
        return torch.sigmoid(z).prod(1, keepdim=True)

    def logs(z: Tensor) -> Tensor:
        return -functional.logsigmoid(z).mean(1, keepdim=True)

    build = lambda then: Behind(mlp(10, width_of(seed), 200), then)  # noqa: E731
    sick, twin = pair_of(seed, build, (product, logs), MSE, x, target)
    return Trouble(sick, twin, ("same-output", "no-gradient", "vanishing-gradient"))


def everything_masked_out(seed: int) -> Trouble:
    """'Loss stays at log 2': hidden values are multiplied by a mask that is 0 for every token."""
    x, y = networks.words(seed)

    class Hidden(nn.Module):
        def __init__(self, last: int) -> None:
            super().__init__()
            self.embed, self.last = nn.Embedding(50, width_of(seed)), last
            self.body, self.out = nn.Linear(width_of(seed), width_of(seed)), nn.Linear(width_of(seed), 2)

        def forward(self, tokens: Tensor) -> Tensor:
            kept = (tokens < self.last).unsqueeze(-1).float()
            return self.out((torch.relu(self.body(self.embed(tokens))) * kept).mean(1))  # type: ignore[no-any-return]

    sick, twin = pair_of(seed, Hidden, (0, 50), CROSS, x, y)
    return Trouble(sick, twin, ("same-output", "no-gradient", "constant"))


def attention_of_no_scores(seed: int) -> Trouble:
    """'Attention weights are all equal': scores divided by a million."""
    x, y = networks.words(seed)
    sick, twin = pair_of(seed, partial(Weighted, width_of(seed)), (1e-6, 0.2), CROSS, x, y)
    return Trouble(sick, twin, ("elsewhere",))


def head_frozen_for_the_body(seed: int) -> Trouble:
    """'Fine-tuning gets nowhere': all but the new head should have been frozen, and the head was."""
    x, y = data.digits()

    def build(frozen: bool) -> nn.Module:
        model = mlp(64, width_of(seed), 10)
        nn.init.zeros_(model[2].weight)  # type: ignore[arg-type]
        model[2].requires_grad_(not frozen)
        return model

    sick, twin = pair_of(seed, build, (True, False), CROSS, x, y)
    return Trouble(sick, twin, ("no-gradient", "same-output"))


def logarithm_of_what_may_be_negative(seed: int) -> Trouble:
    """'NaN after the first update': the logarithm of an output that nothing keeps above 0."""
    x, y = data.friedman(seed)
    twin = side_of(seed, lambda: Behind(mlp(10, width_of(seed), 1), lambda z: (z.exp() + 1e-3).log()), MSE, x, y)
    sick = Behind(copy.deepcopy(twin.model.body), torch.log)  # type: ignore[arg-type]
    return Trouble(Side(sick.eval(), (x, y), MSE), twin, ("non-finite",))


TROUBLES: tuple[Callable[[int], Trouble], ...] = (
    temperature_of_nothing, number_of_the_row, one_word_is_not_a_number, clipped_at_the_end, sigmoid_driven_far_out,
    gru_that_keeps_its_state, norm_of_weight_zero, biases_of_fifty, words_as_numbers, product_of_probabilities,
    everything_masked_out, attention_of_no_scores, head_frozen_for_the_body, logarithm_of_what_may_be_negative,
)  # fmt: skip
