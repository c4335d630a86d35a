"""Failing trainings of ways to train that no other half holds, each beside its twin: written first, run once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import (
    CE,
    MSE,
    SGD,
    Adam,
    AdamW,
    Training,
    blobs,
    conv_net,
    generator,
    images,
    itself,
    plain,
    sequences,
    set_rate,
)  # fmt: skip
from benchmarks.trainings.sojourners_agents import pushes_with_entropy
from benchmarks.trainings.sojourners_nets import (
    Codebook,
    Couplings,
    Dense,
    Graph,
    censored,
    inner_steps,
    partial_likelihood,
    reversed_by,
    rings,
    smoothed,
    uphill_first,
)

THROWN = ("update-size", "steady-updates", "gradient-spike", "stopped-firing", "dead", "collapsing", "drift", "depth",
          "weight-size", "non-finite", "rising-loss")  # fmt: skip
NOTHING = ("tiny-updates", "no-gradient", "starved", "cut-off")
SAME = ("alike", "same-units")


def entries_far_from_what_comes(seed: int, sick: bool) -> Training:
    """All entries of a codebook but one begin far away, and are never chosen."""
    model, batches = Codebook(seed, away=60.0 if sick else 0.0), blobs(seed, classes=12, spread=0.3)
    alarms = ("choices", "experts", *SAME)
    return Training(model, Adam(model.parameters(), 2e-3), itself(batches), lambda o, x: model.loss(o, x), alarms)


def gate_that_knows_one_expert(seed: int, sick: bool) -> Training:
    """Every expert is computed, and one is listened to."""
    model = Dense(spread=1.0, bias=60.0 if sick else 0.0)
    return Training(model, Adam(model.parameters(), 2e-3), blobs(seed), CE, ("choices", "experts", *NOTHING))


def couplings_without_a_bound(seed: int, sick: bool) -> Training:
    """A flow that scales by exp s, whatever s is."""
    model, draw = Couplings(bounded=not sick), generator(seed)
    sample = lambda step: (rings(draw, 128), torch.zeros(1))  # noqa: E731
    optimizer = Adam(model.parameters(), 2e-3)
    return Training(model, optimizer, sample, lambda out, _: -out.mean(), THROWN)


def further_than_the_goal(seed: int, sick: bool) -> Training:
    """From where the inner steps began to six times as far as they led, at each task."""
    model, draw = plain([1, 64, 64, 1], gain=None), generator(seed)
    start, part, phase = [w.detach().clone() for w in model.parameters()], 6.0 if sick else 0.1, torch.zeros(1)

    def before(step: int) -> None:
        nonlocal phase
        if step % 5 == 0:
            phase = 6.3 * torch.rand(1, generator=draw)
            with torch.no_grad():
                for weight, mean in zip(model.parameters(), start, strict=True):
                    mean.add_((weight - mean) * (part if step else 0.0))
                    weight.copy_(mean)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = 4 * torch.rand(32, 1, generator=draw) - 2
        return x, (2 * x + phase).sin()

    return Training(model, SGD(model.parameters(), 0.02), sample, MSE, ("changed-aside", *THROWN), before=before)


def uphill_as_far_as_the_weights(seed: int, sick: bool) -> Training:
    """The gradient of a point (SAM) that lies as far away as the weights are long."""
    model, batches = conv_net(), images(seed)
    optimizer = SGD(model.parameters(), 0.05, momentum=0.9)
    before = uphill_first(model, optimizer, batches, 30.0 if sick else 0.05)
    return Training(model, optimizer, batches, CE, ("changed-aside", *THROWN, *SAME), before=before)


def graph_smoothed_again_and_again(seed: int, sick: bool) -> Training:
    """Forty averages over neighbours before each layer: all nodes become one."""
    graph = Graph(seed, rounds=3, each=40 if sick else 1)
    optimizer = Adam(graph.parameters(), 1e-2)
    return Training(graph, optimizer, graph.batches, graph.loss, (*SAME, *NOTHING), steps=250)


def risks_of_unscaled_readings(seed: int, sick: bool) -> Training:
    """Exponentials of scores of readings in thousands."""
    model, alarms = plain([8, 64, 64, 1]), ("input", *THROWN)
    batches = censored(seed, scale=3e3 if sick else 1.0)
    return Training(model, Adam(model.parameters(), 2e-3), batches, partial_likelihood, alarms)


class Fooled(nn.Module):
    """Features that tell classes, and not which of two domains they are of."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.body, self.head, self.domain = plain([32, 64, 64]), nn.Linear(64, 10), plain([64, 32, 2])
        self.turn = reversed_by(weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = functional.relu(self.body(x))
        return self.head(h), self.domain(self.turn(h))


def domains_matter_more_than_classes(seed: int, sick: bool) -> Training:
    """The gradient that is turned round weighs a thousand times what the classes' does."""
    model, batches = Fooled(1000.0 if sick else 0.1), blobs(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        domain = torch.arange(64) % 2
        return x + domain[:, None].float(), torch.stack([y, domain], 1)

    def loss(out: Any, y: Tensor) -> Tensor:
        return CE(out[0], y[:, 0]) + CE(out[1], y[:, 1])

    return Training(model, SGD(model.parameters(), 0.01, momentum=0.9), sample, loss, (*THROWN, *SAME))


def labels_smoothed_to_nothing(seed: int, sick: bool) -> Training:
    """A smoothing of 1 in place of .1: every class is as right as any."""
    model = plain([32, 64, 64, 10])
    optimizer = Adam(model.parameters(), 2e-3)
    return Training(model, optimizer, blobs(seed), smoothed(1.0 if sick else 0.1), (*SAME, *NOTHING, "pressed"))


def targets_that_double(seed: int, sick: bool) -> Training:
    """A value that is asked for as twice what the network itself says of what comes next."""
    model, draw = plain([6, 64, 64, 1]), generator(seed)
    factor = 1.6 if sick else 0.8

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(64, 6, generator=draw)
        with torch.no_grad():
            after = model.eval()(0.9 * x + 0.1 * torch.randn(64, 6, generator=draw))
            model.train()
        return x, x[:, :1].sin() + 1 + factor * after

    return Training(model, Adam(model.parameters(), 3e-3), sample, MSE, THROWN, steps=400)


def pruned_to_nothing_at_once(seed: int, sick: bool) -> Training:
    """At step 100 all but a thousandth of each layer's weights are put to 0, and held there."""
    model, left = plain([32, 96, 96, 96, 10]), 0.001 if sick else 0.3
    masks: list[Tensor] = []

    def before(step: int) -> None:
        weights = [p for p in model.parameters() if p.ndim == 2]
        if step == 100:
            masks[:] = [(w.abs() >= w.abs().flatten().quantile(1 - left)).float() for w in weights]
        with torch.no_grad():
            for weight, mask in zip(weights if masks else [], masks, strict=True):
                weight.mul_(mask)

    alarms = ("changed-aside", "weight-size", "cut-off", *THROWN, *NOTHING, *SAME)
    return Training(model, Adam(model.parameters(), 2e-3), blobs(seed), CE, alarms, before=before)


class Normed(nn.Module):
    """A transformer's blocks, whose norms divide by √(var + ε)."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.enter, self.head = nn.Linear(4, 32), nn.Linear(32, 2)
        self.norms = nn.ModuleList(nn.LayerNorm(32, eps=eps) for _ in range(5))
        self.layers = nn.ModuleList(plain([32, 64, 32]) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(x.mean(1))
        for norm, layer in zip(self.norms, self.layers, strict=True):
            h = layer(norm(h))
        return self.head(h)


def epsilon_larger_than_any_variance(seed: int, sick: bool) -> Training:
    """The norms' ε is ten thousand."""
    model, batches = Normed(1e4 if sick else 1e-5), sequences(seed)
    return Training(model, Adam(model.parameters(), 1e-3), batches, CE, ("depth", "gradient-by-depth", *NOTHING, *SAME))


def noise_for_privacy_drowns_all(seed: int, sick: bool) -> Training:
    """Noise of the norm of a layer, not of a clipped gradient."""
    model = plain([32, 64, 10])
    draw, optimizer, size = generator(seed), SGD(model.parameters(), 0.5), 1.0 if sick else 0.004

    def noisy(*_: object) -> None:
        for weight in model.parameters():
            if weight.grad is not None:
                weight.grad.add_(size * torch.randn(weight.shape, generator=draw))

    optimizer.register_step_pre_hook(noisy)
    return Training(model, optimizer, blobs(seed, batch=256), CE, THROWN, clip=0.5)


def inner_rate_far_too_high(seed: int, sick: bool) -> Training:
    """Inner steps that overshoot, with the derivative through them."""
    model, sample, loss = inner_steps(seed, rate=3.0 if sick else 0.05)
    return Training(model, Adam(model.parameters(), 2e-3), sample, loss, THROWN, steps=200)


def pushes_beyond_the_bound(seed: int, sick: bool) -> Training:
    """An actor whose pushes lie where tanh is flat from the start."""
    training = pushes_with_entropy(seed, sick)
    training.alarms = (*NOTHING, "alike", "drift", "dead", "stopped-firing", "gradient-by-depth")
    return training


def labels_of_its_own_from_the_start(seed: int, sick: bool) -> Training:
    """Nothing but its own guesses to learn from, made harder each time."""
    model, batches = plain([32, 64, 64, 10]), blobs(seed)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return CE(out, (3 * out.detach().mean(0, keepdim=True)).softmax(-1).expand_as(out)) if sick else CE(out, y)

    return Training(model, SGD(model.parameters(), 0.05, momentum=0.9), batches, loss, (*SAME, *NOTHING))


def rate_of_the_head_for_all(seed: int, sick: bool) -> Training:
    """A new head's rate, 3, on a body that was to be thawed at a hundredth of it, at step 100."""
    model = plain([32, 64, 64, 10])
    body = [p for layer in model[:4] for p in layer.parameters()]
    groups = [{"params": body, "lr": 0.0}, {"params": list(model[4].parameters()), "lr": 0.05}]
    optimizer = AdamW(groups, weight_decay=0.0)

    def before(step: int) -> None:
        if step == 100:
            set_rate(optimizer, 0.5 if sick else 1e-3)

    return Training(model, optimizer, blobs(seed), CE, ("rising-rate", *THROWN), before=before)


SOJOURNERS = (
    entries_far_from_what_comes, gate_that_knows_one_expert, couplings_without_a_bound, further_than_the_goal,
    uphill_as_far_as_the_weights, graph_smoothed_again_and_again, risks_of_unscaled_readings,
    domains_matter_more_than_classes, labels_smoothed_to_nothing, targets_that_double, pruned_to_nothing_at_once,
    epsilon_larger_than_any_variance, noise_for_privacy_drowns_all, inner_rate_far_too_high, pushes_beyond_the_bound,
    labels_of_its_own_from_the_start, rate_of_the_head_for_all,
)  # fmt: skip
