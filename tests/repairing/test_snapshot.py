"""What a repair may change comes back to the last bit, tensor by tensor the same objects; what could not is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leaky.errors import InputError
from leaky.repairing.snapshot import Snapshot


def trained() -> tuple[nn.Sequential, torch.optim.Optimizer]:
    """A network with gradients, running statistics and an optimizer that has made steps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    model[0].weight.data[0, 0] = float("nan")
    model[3].bias.requires_grad_(False)
    return model, optimizer


def bits(value: Any) -> Any:
    """A value as plain data that is equal only where every bit and type is."""
    if isinstance(value, Tensor):
        data = value.detach().contiguous().reshape(-1).view(torch.uint8).tolist()
        return type(value), value.dtype, tuple(value.shape), value.requires_grad, data
    if isinstance(value, dict):
        return {key if isinstance(key, str) else id(key): bits(each) for key, each in value.items()}
    return [bits(each) for each in value] if isinstance(value, list | tuple) else value


def everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    """What must come back: the values, and which objects stand where."""
    modules = [(name, id(module), module.training) for name, module in model.named_modules()]
    tensors = [*model.named_parameters(), *model.named_buffers()]
    held = [(name, id(t), bits(t), None if t.grad is None else (id(t.grad), bits(t.grad))) for name, t in tensors]
    return modules, held, bits(optimizer.param_groups), bits(dict(optimizer.state))


def train_on(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
    model(torch.randn(8, 4)).square().mean().backward()
    optimizer.step()


def swap_modules(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
    model[2] = nn.LeakyReLU(0.1)
    model.insert(1, nn.Linear(6, 6))
    del model[4]


def put_other_tensors(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
    model[0].weight = nn.Parameter(torch.zeros(6, 4))
    model[0].register_parameter("bias", None)
    model[1].register_buffer("running_mean", None)
    model[1].register_buffer("another", torch.ones(2))


def cast(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
    model.double().eval()


def resize(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
    model[3].weight.grad = None
    model[3].weight.data = torch.zeros(3, 6)


def freeze_and_forget(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
    model.requires_grad_(False)
    model[3].bias.requires_grad_(True)
    model.zero_grad()


def overwrite_gradients(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.zero_()
    model[3].weight.grad = torch.ones(2, 6)


def change_optimizer(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
    optimizer.param_groups[0]["lr"] = 5.0
    optimizer.param_groups[0]["new"] = 1
    optimizer.param_groups[0]["params"].pop()
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))]})
    first = model[0].weight
    optimizer.state[first]["exp_avg"].zero_()
    optimizer.state[first]["step"] = torch.tensor(0.0)
    del optimizer.state[first]["exp_avg_sq"]
    optimizer.state[nn.Parameter(torch.ones(3))] = {"step": 1}
    del optimizer.state[model[1].weight]


CHANGES = (
    train_on,
    swap_modules,
    put_other_tensors,
    cast,
    resize,
    freeze_and_forget,
    overwrite_gradients,
    change_optimizer,
)


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_comes_back(change: Callable[[nn.Sequential, torch.optim.Optimizer], None]) -> None:
    model, optimizer = trained()
    before = everything(model, optimizer)
    snapshot = Snapshot(model, optimizer)
    assert everything(model, optimizer) == before
    change(model, optimizer)
    assert everything(model, optimizer) != before
    snapshot.restore()
    assert everything(model, optimizer) == before


def test_it_comes_back_again_after_all_changes_and_without_an_optimizer() -> None:
    model, optimizer = trained()
    before = everything(model, optimizer)
    snapshot, of_model = Snapshot(model, optimizer), Snapshot(model)
    for _ in range(2):
        train_on(model, optimizer)
        cast(model, optimizer)
        freeze_and_forget(model, optimizer)
        snapshot.restore()
        assert everything(model, optimizer) == before
    model[0].weight.data.zero_()
    swap_modules(model, optimizer)
    of_model.restore()
    assert everything(model, optimizer) == before


def made_in_inference_mode() -> Tensor:
    with torch.inference_mode():
        return torch.ones(4)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: torch.ones(1).expand(4), "buffer could not be: it is expanded"),
        (lambda: torch.eye(2).to_sparse(), "buffer could not be: it is sparse_coo"),
        (made_in_inference_mode, "buffer could not be: it was made in inference mode"),
    ],
)
def test_what_could_not_be_put_back_is_named_before_anything_is_touched(
    make: Callable[[], Tensor], reason: str
) -> None:
    model, _ = trained()
    model[2].register_buffer("buffer", make())
    with pytest.raises(InputError, match=reason):
        Snapshot(model)
