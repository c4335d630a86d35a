"""Healthy trainings of agents: by what an expert does, by advantages, by bounded ratios, by returns in bins."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import CE, MSE, SGD, Adam, Training, copied, generator, plain
from benchmarks.trainings.neighbours_games import Twins, World


def expert_of(state: Tensor) -> Tensor:
    """Which push brings a point to 0: against place and speed together."""
    return 1 - torch.sign((state[:, 0] + 1.5 * state[:, 1]).round()).long()


def what_the_expert_would_do(seed: int, sick: bool) -> Training:
    """Imitation: its own way is followed ever more, and the expert's answer asked on it."""
    model, world = plain([2, 64, 64, 3]), World(seed)

    def before(step: int) -> None:
        for _ in range(8 if step == 0 else 1):
            with torch.no_grad():
                own = model.eval()(world.state).argmax(1)
                model.train()
            follow = torch.rand(16, generator=world.draw) < min(0.8, step / 200)
            world.step(torch.where(follow, own, expert_of(world.state)).float() - 1)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        state = world.drawn()[:, :2]
        return state, expert_of(state)

    return Training(model, Adam(model.parameters(), 1e-3), sample, CE, before=before, steps=500)


def rolled_out(world: World, model: nn.Module, steps: int, discount: float = 0.9) -> Tensor:
    """What a policy meets, row by row: state, action, reward, state after, over, return, log of the chance taken."""
    kept = []
    for _ in range(steps):
        with torch.no_grad():
            log = model.eval()(world.state)[:, :3].log_softmax(-1)
            model.train()
        action = torch.multinomial(log.exp(), 1, generator=world.draw)
        world.step(action[:, 0].float() - 1)
        kept.append(torch.cat([world.rows[-16:], log.gather(1, action)], 1))
    total, rows = torch.zeros(16), []
    for each in reversed(kept):
        total = each[:, 3] + discount * (1 - each[:, 6]) * total
        rows.append(torch.cat([each[:, :7], total[:, None], each[:, 7:]], 1))
    return torch.cat(rows)


def advantages_of_five_steps(seed: int, sick: bool) -> Training:
    """Actor and critic in one network, five steps of sixteen worlds at a time, with a bonus on entropy (A2C)."""
    model, world = plain([2, 64, 64, 4]), World(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        rows = rolled_out(world, model, 5)
        return rows[:, :2], rows

    def loss(out: Tensor, rows: Tensor) -> Tensor:
        log = out[:, :3].log_softmax(-1)
        taken = log.gather(1, rows[:, 2:3].long() + 1)[:, 0]
        advantage = rows[:, 7] - out[:, 3]
        entropy = -(log.exp() * log).sum(1).mean()
        return -(taken * advantage.detach()).mean() + 0.5 * advantage.square().mean() - 0.01 * entropy

    optimizer = torch.optim.RMSprop(model.parameters(), 7e-4, alpha=0.99, eps=1e-5)
    return Training(model, optimizer, sample, loss, clip=0.5, steps=500)


def ratios_within_bounds(seed: int, sick: bool) -> Training:
    """Eight steps on what one roll-out met, the ratio of chances being cut off (PPO)."""
    model, world = plain([2, 64, 64, 4], act=nn.Tanh), World(seed)
    rows = torch.zeros(0)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        nonlocal rows
        rows = rolled_out(world, model, 16) if step % 8 == 0 else rows
        some = rows[torch.randint(len(rows), (64,), generator=world.draw)]
        return some[:, :2], some

    def loss(out: Tensor, some: Tensor) -> Tensor:
        log = out[:, :3].log_softmax(-1).gather(1, some[:, 2:3].long() + 1)[:, 0]
        gain = some[:, 7] - out[:, 3].detach()
        gain, ratio = (gain - gain.mean()) / (gain.std() + 1e-6), (log - some[:, 8]).exp()
        least = torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain)
        return -least.mean() + 0.5 * MSE(out[:, 3], some[:, 7])

    return Training(model, Adam(model.parameters(), 3e-4), sample, loss, clip=0.5, steps=600)


def returns_in_bins(seed: int, sick: bool) -> Training:
    """Q-learning of a distribution over 21 bins (C51), at a rate of 2.5e-3."""
    model, world = plain([2, 128, 128, 3 * 21]), World(seed)
    target, bins = copied(model), torch.linspace(-10, 0, 21)

    def before(step: int) -> None:
        if step % 50 == 0:
            target.load_state_dict(model.state_dict())
        for _ in range(8 if step == 0 else 1):
            with torch.no_grad():
                best = (model.eval()(world.state).view(-1, 3, 21).softmax(-1) @ bins).argmax(1)
                model.train()
            explore = torch.rand(16, generator=world.draw) < max(0.1, 1 - step / 200)
            drawn = torch.randint(3, (16,), generator=world.draw)
            world.step(torch.where(explore, drawn, best).float() - 1)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        rows = world.drawn()
        return rows[:, :2], rows

    def loss(out: Tensor, rows: Tensor) -> Tensor:
        at = torch.arange(len(rows))
        with torch.no_grad():
            chances = target(rows[:, 4:6]).view(-1, 3, 21).softmax(-1)
            chances = chances[at, (chances @ bins).argmax(1)]
            reached = rows[:, 3:4] + 0.9 * (1 - rows[:, 6:7]) * bins
            place = ((reached.clamp(-10, 0) + 10) / 0.5).clamp(0, 20)
            wanted = (1 - (place[:, :, None] - torch.arange(21)).abs()).clamp_min(0)
            wanted = (chances[:, :, None] * wanted).sum(1)
        return CE(out.view(-1, 3, 21)[at, rows[:, 2].long() + 1], wanted)

    return Training(model, Adam(model.parameters(), 2.5e-3), sample, loss, before=before, steps=600)


def pushes_with_entropy(seed: int, sick: bool) -> Training:
    """The actor of SAC, beside critics that somebody else trains; sick: no entropy is asked for, and no bound kept."""
    model, critics, world = plain([2, 64, 64, 2]), Twins(), World(seed)
    slow, other = copied(critics), Adam(critics.parameters(), 2e-3)
    scale, temperature = (200.0, 0.0) if sick else (1.0, 0.1)

    def pushed(out: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = (scale * out[:, 0], torch.zeros_like(out[:, 1])) if sick else (out[:, 0], out[:, 1].clamp(-3, 1))
        noise = torch.randn(len(out), generator=world.draw)
        push = (mean + 0.1 * noise * spread.exp()).tanh() if sick else (mean + noise * spread.exp()).tanh()
        return push, -0.5 * noise.square() - spread - (1 - push.square() + 1e-4).log()

    def before(step: int) -> None:
        for _ in range(8 if step == 0 else 1):
            with torch.no_grad():
                world.step(pushed(model.eval()(world.state))[0])
                model.train()
        rows = world.drawn()
        with torch.no_grad():
            push, log = pushed(model.eval()(rows[:, 4:6]))
            model.train()
            after = slow(torch.cat([rows[:, 4:6], push[:, None]], 1)).min(1).values - temperature * log
            wanted = rows[:, 3] + 0.9 * (1 - rows[:, 6]) * after
        other.zero_grad()
        MSE(critics(rows[:, :3]), wanted[:, None].expand(-1, 2)).backward()
        other.step()
        with torch.no_grad():
            for mean, weight in zip(slow.parameters(), critics.parameters(), strict=True):
                mean.lerp_(weight, 0.01)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        state = world.drawn()[:, :2]
        return state, state

    def loss(out: Tensor, state: Tensor) -> Tensor:
        push, log = pushed(out)
        return (temperature * log - critics(torch.cat([state, push[:, None]], 1)).min(1).values).mean()

    return Training(model, Adam(model.parameters(), 1e-3), sample, loss, before=before, steps=500)


def world_in_the_head(seed: int, sick: bool) -> Training:
    """A model of the world: a recurrent state is led three pushes ahead, and asked for all that comes."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.cell, self.head = plain([2, 48, 48]), nn.GRUCell(1, 48), plain([48, 48, 3])

        def forward(self, x: Tensor) -> Tensor:
            state, given = self.enter(x[:, :2]), []
            for ahead in range(3):
                state = self.cell(x[:, 2 + ahead : 3 + ahead], state)
                given.append(self.head(state))
            return torch.stack(given, 1)

    model, draw = Model(), generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        state, pushes = torch.randn(64, 2, generator=draw), torch.randint(-1, 2, (64, 3), generator=draw).float()
        at, seen = state, []
        for push in pushes.T:
            speed = 0.9 * at[:, 1] + 0.3 * push
            at = torch.stack([at[:, 0] + 0.3 * speed, speed], 1)
            seen.append(torch.cat([at, -at[:, :1].square().clamp_max(4) / 4], 1))
        return torch.cat([state, pushes], 1), torch.stack(seen, 1)

    return Training(model, Adam(model.parameters(), 2e-3), sample, MSE, clip=10.0)


def regret_of_a_bandit(seed: int, sick: bool) -> Training:
    """The reward of the arm that was pulled, by a committee of heads that each see half of the pulls."""
    model, draw = plain([12, 64, 5 * 4]), generator(seed)
    arms = torch.randn(12, 4, generator=draw)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(48, 12, generator=draw)
        with torch.no_grad():
            said = model.eval()(x).view(48, 5, 4)
            model.train()
        arm = said[torch.arange(48), torch.randint(5, (48,), generator=draw)].argmax(1)
        reward = ((x @ arms).tanh() + 0.1 * torch.randn(48, 4, generator=draw)).gather(1, arm[:, None])
        return x, torch.cat([arm[:, None], reward, (torch.rand(48, 5, generator=draw) < 0.5)], 1)

    def loss(out: Tensor, seen: Tensor) -> Tensor:
        said = out.view(48, 5, 4).gather(2, seen[:, :1].long()[:, None].expand(-1, 5, 1))[:, :, 0]
        each = functional.smooth_l1_loss(said, seen[:, 1:2].expand(-1, 5), reduction="none")
        return (each * seen[:, 2:]).mean()

    return Training(model, SGD(model.parameters(), 0.1, momentum=0.9), sample, loss, steps=400)


AGENTS = (
    what_the_expert_would_do, advantages_of_five_steps, ratios_within_bounds, returns_in_bins, pushes_with_entropy,
    world_in_the_head, regret_of_a_bandit,
)  # fmt: skip
