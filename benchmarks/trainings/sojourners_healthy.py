"""Healthy trainings of further ways to train: written when the rules stood, run once before mending."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from benchmarks.trainings.building import (
    CE,
    MSE,
    SGD,
    Adam,
    AdamW,
    Training,
    blobs,
    copied,
    curve,
    generator,
    itself,
    plain,
    sequences,
    taught,
)  # fmt: skip
from benchmarks.trainings.sojourners_agents import AGENTS
from benchmarks.trainings.sojourners_nets import (
    Codebook,
    Couplings,
    Dense,
    Graph,
    Tagger,
    censored,
    chain_loss,
    partial_likelihood,
    rings,
    tagged,
)
from benchmarks.trainings.sojourners_optimizers import OPTIMIZERS


def queue_of_keys(seed: int, sick: bool) -> Training:
    """A contrastive loss against keys of a slow encoder, of which the last 512 are kept."""
    model, draw = plain([32, 96, 96, 24]), blobs(seed, batch=64, classes=50)
    slow, keys = copied(model), functional.normalize(torch.randn(512, 24, generator=generator(seed)), dim=1)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = draw(step)
        return x + 0.3 * torch.randn_like(x), x + 0.3 * torch.randn_like(x)

    def loss(out: Tensor, other: Tensor) -> Tensor:
        nonlocal keys
        with torch.no_grad():
            for mean, weight in zip(slow.parameters(), model.parameters(), strict=True):
                mean.lerp_(weight, 0.01)
            key = functional.normalize(slow(other), dim=1)
        query, old = functional.normalize(out, dim=1), keys
        keys = torch.cat([key, keys])[:512]
        return CE(torch.cat([(query * key).sum(1, keepdim=True), query @ old.T], 1) / 0.1, torch.zeros(64).long())

    return Training(model, SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4), sample, loss, steps=400)


def hidden_layers_matched(seed: int, sick: bool) -> Training:
    """A thin network is shown the hidden layer of a wide one beside its answers."""
    teacher = plain([32, 128, 128, 10])
    taught(teacher, blobs(seed), 300)
    body, head, across = plain([32, 40, 40]), nn.Linear(40, 10), nn.Linear(40, 128)
    model = nn.ModuleList([body, head, across])
    given: list[Tensor] = []
    batches = blobs(seed)

    class Student(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = model

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            given[:] = [x]
            h = functional.relu(body(x))
            return head(h), across(h)

    def loss(out: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = teacher[:4](given[0])
            told = (teacher(given[0]) / 3).softmax(-1)
        return CE(out[0], y) + 0.5 * MSE(out[1], hidden) + 2 * CE(out[0] / 3, told)

    student = Student()
    return Training(student, AdamW(student.parameters(), 2e-3), batches, loss)


def critic_of_bounded_slope(seed: int, sick: bool) -> Training:
    """A critic under spectral norms beside its generator, by hinge; both step by turns."""
    act: list[nn.Module] = [spectral_norm(nn.Linear(a, b)) for a, b in ((2, 64), (64, 64), (64, 1))]
    model = nn.Sequential(act[0], nn.ReLU(), act[1], nn.ReLU(), act[2])
    maker, draw = plain([8, 64, 64, 2]), generator(seed)
    other = Adam(maker.parameters(), 5e-4, betas=(0.5, 0.99))

    def before(step: int) -> None:
        other.zero_grad()
        (-model(maker(torch.randn(64, 8, generator=draw))).mean()).backward()
        other.step()

    def sample(step: int) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return torch.cat([rings(draw), maker(torch.randn(64, 8, generator=draw))]), torch.zeros(1)

    def loss(out: Tensor, _: Tensor) -> Tensor:
        real, made = out.chunk(2)
        return functional.relu(1 - real).mean() + functional.relu(1 + made).mean()

    return Training(model, Adam(model.parameters(), 1e-3, betas=(0.5, 0.99)), sample, loss, before=before, steps=500)


def velocity_between_noise_and_data(seed: int, sick: bool) -> Training:
    """Flow matching: the difference of data and noise, asked for anywhere between them."""
    model, draw = plain([2 + 16, 96, 96, 2]), generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        real, noise, time = rings(draw, 128), torch.randn(128, 2, generator=draw), torch.rand(128, 1, generator=draw)
        waves = time * 2 ** torch.arange(8) * 1.57
        return torch.cat([time * real + (1 - time) * noise, waves.sin(), waves.cos()], 1), real - noise

    return Training(model, Adam(model.parameters(), 2e-3), sample, MSE, steps=500)


def codes_that_are_chosen(seed: int, sick: bool) -> Training:
    """Quantised codes that begin among the samples, with the derivative passed straight through."""
    model, batches = Codebook(seed), blobs(seed, classes=12, spread=0.3)
    return Training(model, Adam(model.parameters(), 2e-3), itself(batches), lambda out, x: model.loss(out, x))


def angles_to_a_proxy(seed: int, sick: bool) -> Training:
    """Cosines to a proxy of each class, with a margin on the right one and a scale of 16."""
    model = plain([32, 96, 32])
    proxies = nn.Parameter(torch.randn(10, 32, generator=generator(seed)))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        near = functional.normalize(out, dim=1) @ functional.normalize(proxies, dim=1).T
        return CE(16 * (near - 0.2 * functional.one_hot(y, 10)), y)

    return Training(model, SGD([*model.parameters(), proxies], 0.05, momentum=0.9), blobs(seed), loss)


def picture_from_its_coordinates(seed: int, sick: bool) -> Training:
    """One picture as a function of places, given by waves of random frequencies."""
    model, draw = plain([64, 64, 64, 64, 1]), generator(seed)
    picture = functional.interpolate(torch.randn(1, 1, 6, 6, generator=draw), (64, 64), mode="bicubic")[0, 0]
    waves = 6 * torch.randn(2, 32, generator=draw)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        at = torch.randint(64, (256, 2), generator=draw)
        angle = (at / 32 - 1) @ waves
        return torch.cat([angle.sin(), angle.cos()], 1), picture[at[:, 0], at[:, 1]][:, None]

    return Training(model, Adam(model.parameters(), 2e-3), sample, MSE, steps=500)


def sines_all_the_way(seed: int, sick: bool) -> Training:
    """Sines for activations, drawn as for them, and a picture's values at its places."""

    class Sine(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sin()

    model, draw = plain([2, 64, 64, 1], act=Sine, gain=None), generator(seed)
    picture = functional.interpolate(torch.randn(1, 1, 5, 5, generator=draw), (48, 48), mode="bicubic")[0, 0]
    with torch.no_grad():
        for layer, bound in ((model[0], 10.0), (model[2], 0.3), (model[4], 0.3)):
            layer.weight.uniform_(-bound, bound, generator=draw)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        at = torch.randint(48, (256, 2), generator=draw)
        return at / 24 - 1, picture[at[:, 0], at[:, 1]][:, None]

    return Training(model, Adam(model.parameters(), 1e-3), sample, MSE, steps=400)


def neighbours_of_a_graph(seed: int, sick: bool) -> Training:
    """Two rounds over a graph of 120 nodes in communities, whole at each step; half of the nodes are labelled."""
    graph = Graph(seed, rounds=2)
    return Training(graph, Adam(graph.parameters(), 1e-2, weight_decay=5e-4), graph.batches, graph.loss, steps=250)


def tags_by_a_chain(seed: int, sick: bool) -> Training:
    """A recurrent net in both directions gives each word's scores; the loss sums over all ways to tag the sequence."""
    model = Tagger()
    return Training(model, Adam(model.parameters(), 5e-3), tagged(seed), chain_loss(model), clip=5.0)


def risks_in_order(seed: int, sick: bool) -> Training:
    """Who of those at risk comes first: a partial likelihood, some times being cut off."""
    model = plain([8, 64, 64, 1])
    return Training(model, Adam(model.parameters(), 2e-3), censored(seed), partial_likelihood)


def density_by_couplings(seed: int, sick: bool) -> Training:
    """A normalising flow of six affine couplings, whose scales are bounded by a tanh."""
    model, draw = Couplings(bounded=True), generator(seed)
    sample = lambda step: (rings(draw, 128), torch.zeros(1))  # noqa: E731
    return Training(model, Adam(model.parameters(), 2e-3), sample, lambda out, _: -out.mean(), steps=400)


def labels_it_is_sure_of(seed: int, sick: bool) -> Training:
    """Sixteen labelled samples a batch, and of the others its own labels where it is sure of them (FixMatch)."""
    model, batches = plain([32, 96, 96, 10]), blobs(seed, batch=80)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return torch.cat([x, x[16:] + 0.5 * torch.randn(64, 32)]), y[:16]

    def loss(out: Tensor, y: Tensor) -> Tensor:
        sure, guess = out[16:80].detach().softmax(-1).max(-1)
        own = CE(out[80:], guess, reduction="none")
        return CE(out[:16], y) + (own * (sure > 0.95)).mean()

    return Training(model, SGD(model.parameters(), 0.03, momentum=0.9, nesterov=True), sample, loss, steps=400)


def mean_and_spread(seed: int, sick: bool) -> Training:
    """A mean and a variance, by the likelihood of a normal distribution."""
    model = plain([8, 64, 64, 2])

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return functional.gaussian_nll_loss(out[:, :1], y, functional.softplus(out[:, 1:]) + 1e-4)

    return Training(model, Adam(model.parameters(), 2e-3), curve(seed), loss, steps=400)


def all_experts_weighed(seed: int, sick: bool) -> Training:
    """Every expert is asked, and the gate weighs what they say."""
    model = Dense(spread=1.0)
    return Training(model, Adam(model.parameters(), 2e-3), blobs(seed), CE)


def later_layers_left_out_at_random(seed: int, sick: bool) -> Training:
    """Stochastic depth: a branch of a residual net is left out for the whole batch, the later the likelier."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.head = nn.Linear(4, 48), nn.Linear(48, 2)
            self.branches = nn.ModuleList(plain([48, 48, 48]) for _ in range(6))

        def forward(self, x: Tensor) -> Tensor:
            h = self.enter(x.mean(1))
            for i, branch in enumerate(self.branches):
                if torch.rand(()) > i / 12:
                    h = h + 0.5 * branch(h)
            return self.head(h.relu())

    model = Branches()
    return Training(model, Adam(model.parameters(), 2e-3), sequences(seed), CE)


SOJOURNERS_HEALTHY = (
    *AGENTS, *OPTIMIZERS, queue_of_keys, hidden_layers_matched, critic_of_bounded_slope,
    velocity_between_noise_and_data, codes_that_are_chosen, angles_to_a_proxy, picture_from_its_coordinates,
    sines_all_the_way, neighbours_of_a_graph, tags_by_a_chain, risks_in_order, density_by_couplings,
    labels_it_is_sure_of, mean_and_spread, all_experts_weighed, later_layers_left_out_at_random,
)  # fmt: skip
