"""What people ask about, written with its truth before any of it was run: `python -m benchmarks.causes --asked`.

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


def attention_over_samples(seed: int) -> Trouble:
    """'Works in training, random when I predict one sentence': the softmax of the scores runs over the batch."""
    x, y = networks.words(seed)
    sick, twin = pair_of(seed, partial(asked.Attending, width_of(seed)), (0, -1), CROSS, x, y)
    return Trouble(sick, twin, ("loss-misfit", "softmax-inside"))


def batch_first_forgotten(seed: int) -> Trouble:
    """'My GRU only ever sees the last step': (samples, steps) given to a layer that takes (steps, samples)."""
    x, y = networks.drifts(seed)
    sick, twin = pair_of(seed, partial(asked.Recurrent, width_of(seed), nn.GRU), (False, True), MSE, x, y)
    return Trouble(sick, twin, UNSEEN)


def position_of_the_sample(seed: int) -> Trouble:
    """'The transformer does not beat a bag of words': each sample gets the code of its place in the batch."""
    x, y = asked.ordered(seed)
    sick, twin = pair_of(seed, partial(asked.Placed, width_of(seed)), ("samples", "steps"), CROSS, x, y)
    return Trouble(sick, twin, UNSEEN)


def no_positions(seed: int) -> Trouble:
    """'It cannot learn which comes first': no positions at all."""
    x, y = asked.ordered(seed)
    sick, twin = pair_of(seed, partial(asked.Placed, width_of(seed)), ("none", "steps"), CROSS, x, y)
    return Trouble(sick, twin, UNSEEN)


def mask_inverted(seed: int) -> Trouble:
    """'Predicts the same for every sentence': the mask hides the words and leaves the padding."""
    x, y = asked.padded(seed)
    sick, twin = pair_of(seed, partial(asked.Masked, width_of(seed)), (True, False), CROSS, x, y)
    return Trouble(sick, twin, ("same-output", "constant"))


def channels_reshaped(seed: int) -> Trouble:
    """'Accuracy is lower than in Keras': channels last, brought first by a reshape."""
    x, y = data.digits()
    image = torch.stack([x, -x, x.abs(), x.square()], -1).unflatten(1, (8, 8))
    sick, twin = pair_of(seed, partial(asked.Image, width_of(seed) // 3), (True, False), CROSS, image, y)
    return Trouble(sick, twin, UNSEEN)


def normalised_twice(seed: int) -> Trouble:
    """'Worse than the paper': the mean and deviation of bytes taken off pixels that had been standardised."""
    x, y = data.digits()
    net = lambda: mlp(64, width_of(seed), width_of(seed), 10)  # noqa: E731
    twin = side_of(seed, net, CROSS, x, y)
    again = (x - 123.7) / 58.4
    return Trouble(side_of(seed, net, CROSS, again, y, steps=60), twin, ("input-offset", "input-scale"))


def decibels(seed: int) -> Trouble:
    """'Nothing is learned from my spectrograms': decibels from −120 to −60."""
    x, y = data.waves(seed)
    loud = 6 * x - 90
    net = lambda: nn.Sequential(nn.Flatten(), mlp(40, *[width_of(seed)] * 3, 4))  # noqa: E731
    return Trouble(
        side_of(seed, net, CROSS, loud, y, steps=100), side_of(seed, net, CROSS, x, y), ("input-offset", "input-scale")
    )


def summed_loss(seed: int) -> Trouble:
    """'NaN or nothing with batches of 256, fine with 4': the loss is the sum over the batch, by SGD."""
    x, y = data.friedman(seed)
    torch.manual_seed(seed)
    sick = mlp(10, width_of(seed), width_of(seed), 1)
    optimizer = torch.optim.SGD(sick.parameters(), 0.01)
    for index in torch.randint(0, len(x), (30, 256), generator=torch.Generator().manual_seed(seed)):
        optimizer.zero_grad()
        (sick(x[index]) - y[index]).square().sum().clamp(max=1e6).backward()
        optimizer.step()
    twin = side_of(seed, lambda: mlp(10, width_of(seed), width_of(seed), 1), MSE, x, y)
    causes = ("dead", "silent-so-far", "same-output", "growth", "non-finite", "constant")
    return Trouble(Side(sick.eval(), (x, y), MSE), twin, causes)


def rare_class_never_named(seed: int) -> Trouble:
    """'99 % accuracy and recall 0': one in a hundred, and features that hardly tell."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(3000, 6, generator=g)
    y = (torch.rand(3000, generator=g) < 0.01).long()
    net = lambda: mlp(6, width_of(seed), 2)  # noqa: E731
    twin = side_of(seed, net, CROSS, x, (x[:, 0] > 0).long())
    return Trouble(side_of(seed, net, CROSS, x, y, steps=100), twin, UNSEEN)


def residuals_never_scaled(seed: int) -> Trouble:
    """'The loss begins at 1e9': forty residual blocks of full size, no norm."""
    x, y = data.digits()
    torch.manual_seed(seed)
    sick = asked.Deep(width_of(seed), 1.0).eval()
    twin = side_of(seed, lambda: asked.Deep(width_of(seed), 0.1), CROSS, x, y, steps=150)
    return Trouble(Side(sick, (x, y), CROSS), twin, ("growth", "exploding-gradient"))


def weight_that_is_no_parameter(seed: int) -> Trouble:
    """'My own layer does not change': a tensor with requires_grad in place of nn.Parameter."""
    x, y = data.friedman(seed)
    sick, twin = pair_of(seed, partial(asked.Own, width_of(seed)), (False, True), MSE, x, y)
    return Trouble(sick, twin, ("unregistered",))


def group_of_one(seed: int) -> Trouble:
    """'The output is constant': GroupNorm with a group a channel on vectors."""
    x, y = data.friedman(seed)
    width = width_of(seed)

    def build(groups: int) -> nn.Module:
        return nn.Sequential(mlp(10, width, width), nn.GroupNorm(groups, width), nn.ReLU(), nn.Linear(width, 1))

    sick, twin = pair_of(seed, build, (width, 2), MSE, x, y)
    return Trouble(sick, twin, ("constant", "same-output", "dead"))


def mean_over_the_batch(seed: int) -> Trouble:
    """'The same prediction for every sample of a batch': a mean over axis 0 in place of 1."""
    x, y = networks.drifts(seed)
    sick, twin = pair_of(seed, partial(asked.Pooled, width_of(seed)), (0, 1), MSE, x, y)
    return Trouble(sick, twin, ("same-output", "constant"))


def smooth_rectifier_at_the_end(seed: int) -> Trouble:
    """'Predictions never go below −0.2': a GELU behind the last layer of a regression."""
    x, y = data.friedman(seed)
    build = lambda last: nn.Sequential(mlp(10, width_of(seed), 1), last())  # noqa: E731
    sick, twin = pair_of(seed, build, (nn.GELU if seed % 2 else nn.SiLU, nn.Identity), MSE, x, y)
    return Trouble(sick, twin, ("output-rectifier", "target-range"))


def logarithm_of_a_softmax(seed: int) -> Trouble:
    """'NaN after some epochs': log(softmax) written out, and one logit that is far ahead."""
    x, y = data.digits()
    twin = side_of(seed, lambda: nn.Sequential(mlp(64, width_of(seed), 10), nn.LogSoftmax(1)), CROSS, x, y)
    layers = copy.deepcopy(twin.model)
    with torch.no_grad():
        layers[0][-1].weight *= 60  # type: ignore[index, operator]

    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = layers[0]  # type: ignore[index]

        def forward(self, inputs: Tensor) -> Tensor:
            return self.body(inputs).softmax(1).log()  # type: ignore[no-any-return, operator]

    loss = on_targets(functional.nll_loss)
    return Trouble(Side(Written().eval(), (x, y), loss), Side(twin.model, (x, y), loss), ("non-finite",))


def forget_gate_shut(seed: int) -> Trouble:
    """'My LSTM has no memory': the biases of its forget gate were set to −40."""
    x, y = networks.drifts(seed)
    twin = side_of(seed, partial(asked.Recurrent, width_of(seed), nn.LSTM, True), MSE, x, y)
    sick = copy.deepcopy(twin.model)
    with torch.no_grad():
        sick.cell.bias_ih_l0[width_of(seed) : 2 * width_of(seed)] = -40  # type: ignore[union-attr, index]
    return Trouble(Side(sick, (x, y), MSE), twin, ("shut-gate",))


def heavy_tails(seed: int) -> Trouble:
    """'The loss is all spikes': incomes as targets, whose logarithm is what is regular."""
    x, y = data.friedman(seed)
    net = lambda: mlp(10, width_of(seed), width_of(seed), 1)  # noqa: E731
    sick = side_of(seed, net, MSE, x, (3 * y).exp(), steps=150)
    return Trouble(sick, side_of(seed, net, MSE, x, y), ("target-scale", *UNSEEN))


def state_cut_at_each_step(seed: int) -> Trouble:
    """'It remembers nothing beyond a step': the state is detached at each."""
    x, y = networks.drifts(seed)
    sick, twin = pair_of(seed, partial(asked.Stepping, width_of(seed)), (True, False), MSE, x, y)
    return Trouble(sick, twin, ("no-gradient", *UNSEEN))


def cosines_as_logits(seed: int) -> Trouble:
    """'The loss stops at 1.5': cosines between −1 and 1 as the logits of ten classes."""
    x, y = data.digits()
    sick, twin = pair_of(seed, partial(asked.Cosine, width_of(seed)), (1.0, 16.0), CROSS, x, y)
    return Trouble(sick, twin, ("loss-misfit", "target-range"))


def class_taken_for_padding(seed: int) -> Trouble:
    """'Class 0 is never predicted': ignore_index=0, as for padding, where 0 is a class."""
    x, y = data.digits()
    net = lambda: mlp(64, width_of(seed), 10)  # noqa: E731
    loss = on_targets(partial(functional.cross_entropy, ignore_index=0))
    return Trouble(side_of(seed, net, loss, x, y), side_of(seed, net, CROSS, x, y), ("loss-misfit", "elsewhere"))


def deviation_of_one_number(seed: int) -> Trouble:
    """'NaN from the first batch on': the deviation over an axis of one entry."""
    x, y = networks.drifts(seed)
    sick, twin = pair_of(seed, partial(asked.Spread, width_of(seed)), (2, 1), MSE, x, y)
    return Trouble(sick, twin, ("non-finite",))


TROUBLES: tuple[Callable[[int], Trouble], ...] = (
    attention_over_samples, batch_first_forgotten, position_of_the_sample, no_positions, mask_inverted,
    channels_reshaped, normalised_twice, decibels, summed_loss, rare_class_never_named, residuals_never_scaled,
    weight_that_is_no_parameter, group_of_one, mean_over_the_batch, smooth_rectifier_at_the_end,
    logarithm_of_a_softmax, forget_gate_shut, heavy_tails, state_cut_at_each_step, cosines_as_logits,
    class_taken_for_padding, deviation_of_one_number,
)  # fmt: skip
