"""Healthy trainings whose steps are odd: ways back, steps within steps, noise, a point uphill, lengths by layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.trainings.building import CE, MSE, SGD, Adam, Training, blobs, conv_net, generator, images, plain
from benchmarks.trainings.sojourners_nets import Lamb, inner_steps, uphill_first


def start_for_many_tasks(seed: int, sick: bool) -> Training:
    """Ten steps into each of many tasks, and then a tenth of the way there from where they began (Reptile)."""
    model, draw = plain([1, 64, 64, 1], act=nn.Tanh, gain=None), generator(seed)
    start = [weight.detach().clone() for weight in model.parameters()]
    phase = torch.zeros(1)

    def before(step: int) -> None:
        nonlocal phase
        if step % 10 == 0:
            phase = 6.3 * torch.rand(1, generator=draw)
            with torch.no_grad():
                for weight, mean in zip(model.parameters(), start, strict=True):
                    mean.lerp_(weight, 0.1 if step else 0.0)
                    weight.copy_(mean)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = 4 * torch.rand(32, 1, generator=draw) - 2
        return x, (2 * x + phase).sin()

    return Training(model, SGD(model.parameters(), 0.05), sample, MSE, before=before, steps=600)


def derivative_through_inner_steps(seed: int, sick: bool) -> Training:
    """Three inner steps of a rate of .05 on each of four tasks, which the outer gradient goes through."""
    model, sample, loss = inner_steps(seed, rate=0.05)
    return Training(model, Adam(model.parameters(), 2e-3), sample, loss, steps=250)


def layers_each_by_its_norm(seed: int, sick: bool) -> Training:
    """Batches of 512, and steps of Adam each a hundredth of its layer's norm, with a warm-up."""
    model = plain([32, 96, 96, 10])
    optimizer = Lamb(model.parameters(), 1e-2, warm=50)
    return Training(model, optimizer, blobs(seed, batch=512), CE, steps=250)


def uphill_before_downhill(seed: int, sick: bool) -> Training:
    """The gradient is that of the worst point within .05 of the weights (SAM)."""
    model, batches = conv_net(normalised=True), images(seed)
    optimizer = SGD(model.parameters(), 0.05, momentum=0.9)
    before = uphill_first(model, optimizer, batches, 0.05)
    return Training(model, optimizer, batches, CE, before=before)


def noise_on_each_clipped_sample(seed: int, sick: bool) -> Training:
    """Private training: noise beside a gradient that is clipped."""
    model = plain([32, 64, 10])
    draw, optimizer = generator(seed), SGD(model.parameters(), 0.5)

    def noisy(*_: object) -> None:
        for weight in model.parameters():
            if weight.grad is not None:
                weight.grad.add_(0.004 * torch.randn(weight.shape, generator=draw))

    optimizer.register_step_pre_hook(noisy)
    return Training(model, optimizer, blobs(seed, batch=256), CE, clip=0.5)


OPTIMIZERS = (
    start_for_many_tasks, derivative_through_inner_steps, layers_each_by_its_norm, uphill_before_downhill,
    noise_on_each_clipped_sample,
)  # fmt: skip
