"""Healthy trainings whose data come of what is trained: critics beside a generator, values and policies in a world."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import MSE, Adam, Training, copied, generator, images, plain


def critic_under_a_penalty(seed: int, sick: bool) -> Training:
    """A Wasserstein critic whose gradient is held to 1; the generator steps once for five of its steps."""
    model, maker, draw = plain([2, 64, 64, 1]), plain([8, 64, 64, 2]), generator(seed)
    other = Adam(maker.parameters(), 2e-4, betas=(0.0, 0.9))

    def before(step: int) -> None:
        if step % 5 == 0:
            other.zero_grad()
            (-model(maker(torch.randn(64, 8, generator=draw))).mean()).backward()
            other.step()

    def sample(step: int) -> tuple[Tensor, Tensor]:
        which = torch.randint(8, (64,), generator=draw) * 0.785
        real = 2 * torch.stack([which.cos(), which.sin()], 1) + 0.05 * torch.randn(64, 2, generator=draw)
        with torch.no_grad():
            made = maker(torch.randn(64, 8, generator=draw))
        part = torch.rand(64, 1, generator=draw)
        between = (part * real + (1 - part) * made).requires_grad_()
        return torch.cat([real, made, between]), between

    def loss(out: Tensor, between: Tensor) -> Tensor:
        real, made, middle = out.chunk(3)
        slope = torch.autograd.grad(middle.sum(), between, create_graph=True)[0]
        return made.mean() - real.mean() + 10 * (slope.norm(dim=1) - 1).square().mean()

    return Training(model, Adam(model.parameters(), 1e-3, betas=(0.0, 0.9)), sample, loss, before=before, steps=500)


def critic_of_clipped_weights(seed: int, sick: bool) -> Training:
    """A Wasserstein critic as it was first written: RMSprop, and weights cut off at ±.05 after each step."""
    model, maker, draw = plain([2, 64, 64, 1], gain=None), plain([8, 64, 2]), generator(seed)
    other = torch.optim.RMSprop(maker.parameters(), 5e-4)

    def before(step: int) -> None:
        with torch.no_grad():
            for weight in model.parameters():
                weight.clamp_(-0.05, 0.05)
        if step % 5 == 0:
            other.zero_grad()
            (-model(maker(torch.randn(64, 8, generator=draw))).mean()).backward()
            other.step()

    def sample(step: int) -> tuple[Tensor, Tensor]:
        angle = 6.3 * torch.rand(64, 1, generator=draw)
        with torch.no_grad():
            made = maker(torch.randn(64, 8, generator=draw))
        return torch.cat([1 + torch.cat([angle.cos(), angle.sin()], 1), made]), torch.zeros(1)

    def loss(out: Tensor, _: Tensor) -> Tensor:
        real, made = out.chunk(2)
        return made.mean() - real.mean()

    return Training(model, torch.optim.RMSprop(model.parameters(), 5e-4), sample, loss, before=before, steps=400)


def critic_of_pictures_by_hinge(seed: int, sick: bool) -> Training:
    """A convolutional discriminator with leaky rectifiers in front and plain ones behind; hinge loss."""
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(288, 64), nn.ReLU(), nn.Linear(64, 1),
    )  # fmt: skip
    maker, batches, draw = plain([16, 64, 144]), images(seed), generator(seed + 30)
    other = Adam(maker.parameters(), 5e-4, betas=(0.5, 0.999))
    made: Callable[[], Tensor] = lambda: maker(torch.randn(32, 16, generator=draw)).view(32, 1, 12, 12)  # noqa: E731

    def before(step: int) -> None:
        other.zero_grad()
        (-model(made()).mean()).backward()
        other.step()

    def sample(step: int) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return torch.cat([batches(step)[0], made()]), torch.zeros(1)

    def loss(out: Tensor, _: Tensor) -> Tensor:
        real, fake = out.chunk(2)
        return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()

    return Training(model, Adam(model.parameters(), 2e-4, betas=(0.5, 0.999)), sample, loss, before=before, steps=400)


class World:
    """A point that is pushed along a line towards 0; a replay of what was seen."""

    def __init__(self, seed: int) -> None:
        self.draw, self.rows = generator(seed), torch.zeros(0, 7)
        self.state = torch.randn(16, 2, generator=self.draw)

    def step(self, action: Tensor) -> None:
        """Push 16 points by −1, 0 or 1 (or anything between), and remember it."""
        place, speed = self.state.T
        speed = 0.9 * speed + 0.3 * action + 0.05 * torch.randn(16, generator=self.draw)
        after = torch.stack([place + 0.3 * speed, speed], 1)
        reward = -after[:, 0].square().clamp_max(4) / 4
        over = (torch.rand(16, generator=self.draw) < 0.05) | (after[:, 0].abs() > 3)
        new = torch.stack([*self.state.T, action, reward, *after.T, over.float()], 1)
        self.rows = torch.cat([self.rows, new])[-4000:]
        fresh = 1.5 * torch.randn(16, 2, generator=self.draw)
        self.state = torch.where(over[:, None], fresh, after)

    def drawn(self, n: int = 64) -> Tensor:
        return self.rows[torch.randint(len(self.rows), (n,), generator=self.draw)]


def values_by_replay(seed: int, sick: bool) -> Training:
    """Q-learning of a small world in a loop of one's own: replay, a target network, exploration that falls."""
    model, world = plain([2, 64, 64, 3]), World(seed)
    target = copied(model)

    def before(step: int) -> None:
        if step % 50 == 0:
            target.load_state_dict(model.state_dict())
        for _ in range(8 if step == 0 else 1):
            with torch.no_grad():
                best = model.eval()(world.state).argmax(1)
                model.train()
            random = torch.randint(3, (16,), generator=world.draw)
            explore = torch.rand(16, generator=world.draw) < max(0.1, 1 - step / 200)
            world.step(torch.where(explore, random, best).float() - 1)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        rows = world.drawn()
        return rows[:, :2], rows

    def loss(values: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = rows[:, 3] + 0.97 * (1 - rows[:, 6]) * target(rows[:, 4:6]).max(1).values
        taken = values.gather(1, rows[:, 2:3].long() + 1)[:, 0]
        return functional.smooth_l1_loss(taken, wanted)

    return Training(model, Adam(model.parameters(), 1e-3), sample, loss, before=before, steps=600)


class Twins(nn.Module):
    """Two critics of a state and an action."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = plain([3, 64, 64, 1]), plain([3, 64, 64, 1])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.two(x)], 1)


def twin_critics_of_an_actor(seed: int, sick: bool) -> Training:
    """The critics of an actor for continuous pushes, as in TD3; their slow copies give the targets."""
    model, actor, world = Twins(), nn.Sequential(*plain([2, 64, 1]), nn.Tanh()), World(seed)
    slow, other = copied(model), Adam(actor.parameters(), 5e-4)

    def before(step: int) -> None:
        for _ in range(8 if step == 0 else 1):
            with torch.no_grad():
                push = actor(world.state)[:, 0] + 0.3 * torch.randn(16, generator=world.draw)
            world.step(push.clamp(-1, 1))
        if step % 2 == 0:
            states = world.drawn()[:, :2]
            other.zero_grad()
            (-model.one(torch.cat([states, actor(states)], 1)).mean()).backward()
            other.step()
        with torch.no_grad():
            for mean, weight in zip(slow.parameters(), model.parameters(), strict=True):
                mean.lerp_(weight, 0.01)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        rows = world.drawn()
        return rows[:, :3], rows

    def loss(out: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            push = (actor(rows[:, 4:6]) + 0.2 * torch.randn(64, 1).clamp(-0.5, 0.5)).clamp(-1, 1)
            least = slow(torch.cat([rows[:, 4:6], push], 1)).min(1).values
            wanted = rows[:, 3] + 0.97 * (1 - rows[:, 6]) * least
        return MSE(out, wanted[:, None].expand_as(out))

    return Training(model, Adam(model.parameters(), 1e-3), sample, loss, before=before, steps=600)


def policy_by_returns(seed: int, sick: bool) -> Training:
    """A policy gradient with a baseline in the same network, of what its own actions led to."""
    model, world = plain([2, 64, 64, 4]), World(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        kept = []
        for _ in range(12):
            with torch.no_grad():
                chance = model.eval()(world.state)[:, :3].softmax(-1)
                model.train()
            world.step(torch.multinomial(chance, 1, generator=world.draw)[:, 0].float() - 1)
            kept.append(world.rows[-16:])
        total, rows = torch.zeros(16), []
        for each in reversed(kept):
            total = each[:, 3] + 0.9 * (1 - each[:, 6]) * total
            rows.append(torch.cat([each, total[:, None]], 1))
        seen = torch.cat(rows)
        return seen[:, :2], seen

    def loss(out: Tensor, seen: Tensor) -> Tensor:
        gain = seen[:, 7] - out[:, 3].detach()
        chosen = out[:, :3].log_softmax(-1).gather(1, seen[:, 2:3].long() + 1)[:, 0]
        return -(chosen * (gain - gain.mean()) / (gain.std() + 1e-6)).mean() + 0.5 * MSE(out[:, 3], seen[:, 7])

    return Training(model, Adam(model.parameters(), 2e-3), sample, loss)


GAMES = (
    critic_under_a_penalty, critic_of_clipped_weights, critic_of_pictures_by_hinge, values_by_replay,
    twin_critics_of_an_actor, policy_by_returns,
)  # fmt: skip
