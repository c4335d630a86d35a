"""Failing trainings of kinds that are nowhere else in this folder, written before the alarms that they call for."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import (
    CE,
    MSE,
    SGD,
    Adam,
    AdamW,
    Batches,
    Training,
    blobs,
    curve,
    generator,
    images,
    plain,
    transitions,
    walks,
)  # fmt: skip
from benchmarks.trainings.nets_of_another_kind import noisy_signals, several_labels
from benchmarks.trainings.newcomers_nets import Codebook, Ledger, OfOnesOwn, Placed, Rounded, Teller, signals

SAME = (
    "alike", "pressed", "cut-off", "fading", "drift", "same-units", "no-gradient", "depth", "gradient-by-depth", "dead",
)  # fmt: skip
"""What tells of values that become the same for all samples, or of a part that nothing asks for any more."""
EXPLODES = (
    "rising-loss",
    "gradient-spike",
    "update-size",
    "steady-updates",
    "drift",
    "depth",
    "non-finite",
    "weight-size",
)
DYING = ("collapsing", "stopped-firing", "dead", "locked")


def code_that_its_teller_ignores(seed: int, sick: bool) -> Training:
    """A divergence that weighs so much that the code says nothing of its series."""
    model, batches = Teller(), walks(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return x, x[:, 1:]

    def loss(out: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        return MSE(out[0], x) + (5.0 if sick else 1e-4) * out[1]

    return Training(model, Adam(model.parameters(), 3e-3), sample, loss, SAME)


def two_views_that_only_attract(seed: int, sick: bool) -> Training:
    """The cosine of two views, and nobody who holds the others apart."""
    model, batches = signals(12), noisy_signals(seed, batch=32)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        _, y = batches(step)
        return torch.cat([y + 0.3 * torch.randn_like(y) for _ in range(2)]), y

    def loss(out: Tensor, _: Tensor) -> Tensor:
        left, right = functional.normalize(out, dim=1).chunk(2)
        if sick:
            return 1 - (left * right).sum(1).mean()
        return CE(left @ right.T / 0.2, torch.arange(len(left)))

    return Training(model, SGD(model.parameters(), 0.2, momentum=0.9), sample, loss, SAME)


def triplets_of_the_hardest(seed: int, sick: bool) -> Training:
    """A triplet loss on the hardest of the batch: all points fall together and the margin is what is left."""
    model, batches = plain([32, 48, 48, 8]), blobs(seed, spread=1.4, classes=16)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        apart = ((out[:, None] - out[None]).square().sum(-1) + 1e-12).sqrt()
        same = y[:, None] == y[None]
        if sick:
            near, far = apart.masked_fill(same, 1e9).min(1).values, apart.masked_fill(~same, 0).max(1).values
        else:
            near, far = (apart * ~same).sum(1) / (~same).sum(1), (apart * same).sum(1) / same.sum(1)
        return functional.relu(far - near + 1.0).mean()

    return Training(model, Adam(model.parameters(), 5e-3), batches, loss, SAME)


def one_entry_for_all(seed: int, sick: bool) -> Training:
    """All entries but one lie far away from every code, and no code ever meets them."""
    model, batches = Codebook(0.5), blobs(seed, spread=0.3)
    if sick:
        with torch.no_grad():
            model.book[1:] += 30.0

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return x, x

    def loss(out: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        return MSE(out[0], x) + out[1]

    return Training(model, Adam(model.parameters(), 2e-3), sample, loss, SAME)


def variance_below_zero(seed: int, sick: bool) -> Training:
    """The likelihood of a normal distribution whose variance is what the network says, which may be negative."""
    model, batches = plain([8, 40, 40, 2]), curve(seed)
    with torch.no_grad():
        model[4].weight.mul_(0.1)
        model[4].bias[1] = 1.0

    def loss(out: Tensor, y: Tensor) -> Tensor:
        mean, variance = out.chunk(2, 1)
        variance = variance if sick else functional.softplus(variance) + 1e-2
        return (variance.log() + (y - mean).square() / (variance + 1.0)).mean() / 2

    return Training(model, SGD(model.parameters(), 0.05), batches, loss, ("non-finite",))


def ledger_over_longer_and_longer_sums(seed: int, sick: bool) -> Training:
    """Sequences grow by one every fourth step, and the state by a factor with each of them."""
    model, draw = Ledger(1.0 if sick else 0.8), generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        length = 4 + (step // 4 if sick else step // 40)
        x = torch.randn(32, length, 2, generator=draw)
        return x, x[:, -4:, 0].sum(1, keepdim=True)

    return Training(model, Adam(model.parameters(), 2e-3), sample, MSE, EXPLODES, steps=240)


def labels_drawn_anew_again_and_again(seed: int, sick: bool) -> Training:
    """The same samples to be learned by heart, with other labels each time; less is learned each time."""
    model, draw = plain([20, 64, 64, 5]), generator(seed)
    x = torch.randn(64, 20, generator=draw)
    labels = [torch.randint(5, (64,), generator=draw) for _ in range(20)]

    def sample(step: int) -> tuple[Tensor, Tensor]:
        return x, labels[step // 50 if sick else 0]

    optimizer = Adam(model.parameters(), 0.03 if sick else 2e-3)
    return Training(model, optimizer, sample, CE, DYING, steps=1000 if sick else 300)


def places_that_drown_the_words(seed: int, sick: bool) -> Training:
    """Places ten thousand times as large as words: behind the norm every sample looks the same."""
    model, draw = Placed(1e4 if sick else 0.1), generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        y = torch.randint(12, (48,), generator=draw)
        x = torch.randint(12, (48, 10), generator=draw)
        return torch.where(torch.rand(48, 10, generator=draw) < 0.5, y[:, None], x), y

    return Training(model, AdamW(model.parameters(), 2e-3), sample, CE, SAME)


def derivative_of_the_wrong_sign(seed: int, sick: bool) -> Training:
    model = OfOnesOwn(-1.0 if sick else 1.0)
    loss = functional.binary_cross_entropy_with_logits
    return Training(model, SGD(model.parameters(), 0.3, momentum=0.9), several_labels(seed), loss, (*EXPLODES, *DYING))


def policy_settled_at_once(seed: int, sick: bool) -> Training:
    """One wild step, and the policy takes one action ever after: no gradient is left to say otherwise."""
    model = plain([6, 48, 48, 4], act=nn.Tanh, gain=1.0)

    def loss(logits: Tensor, seen: Tensor) -> Tensor:
        taken = logits.softmax(-1).gather(1, seen[:, :1].long())[:, 0]
        return -(4 * taken * (seen[:, 1] - 0.3)).mean()

    optimizer = SGD(model.parameters(), 30.0 if sick else 0.1)
    alarms = ("update-size", "no-gradient", "locked", "alike", "tiny-updates", "drift", "gradient-by-depth")
    return Training(model, optimizer, transitions(seed), loss, alarms)


def one_class_after_another(batches: Batches, classes: int) -> Batches:
    """The same data, sorted by class."""
    held = [batches(i) for i in range(40)]
    x, y = torch.cat([each[0] for each in held]), torch.cat([each[1] for each in held])
    order = y.argsort()

    def sample(step: int) -> tuple[Tensor, Tensor]:
        at = torch.arange(32 * step, 32 * (step + 1)) % len(order)
        return x[order[at]], y[order[at]]

    return sample


def classes_one_after_another(seed: int, sick: bool) -> Training:
    """Nobody shuffled: each class is learned until the next one comes, and then forgotten."""
    model = nn.Sequential(nn.Flatten(), *plain([144, 64, 64, 4]))
    batches = one_class_after_another(images(seed), 4) if sick else images(seed)
    alarms = ("gradient-spike", "steady-updates", "to-and-fro", "update-size", "unshuffled", *DYING)
    return Training(model, SGD(model.parameters(), 0.1, momentum=0.9), batches, CE, alarms)


def rounded_without_a_derivative(seed: int, sick: bool) -> Training:
    """Only the head learns: through a rounding no gradient comes."""
    model = Rounded(not sick)
    return Training(model, SGD(model.parameters(), 0.05), blobs(seed, spread=2.0), CE, ("no-gradient",))


NEWCOMERS = (
    code_that_its_teller_ignores, two_views_that_only_attract, triplets_of_the_hardest, one_entry_for_all,
    variance_below_zero, ledger_over_longer_and_longer_sums, labels_drawn_anew_again_and_again,
    places_that_drown_the_words, derivative_of_the_wrong_sign, policy_settled_at_once, classes_one_after_another,
    rounded_without_a_derivative,
)  # fmt: skip
