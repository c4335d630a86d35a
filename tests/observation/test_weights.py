"""Weights from files of strangers: read without running anything, put in under the names of any wrapper."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leaky.errors import InputError
from leaky.observation.weights import load_weights, read_weights

pytestmark = pytest.mark.usefixtures("folder")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


def other_weights() -> dict[str, Tensor]:
    torch.manual_seed(1)
    state = network().state_dict()
    return {name: torch.randn_like(value) if value.is_floating_point() else value for name, value in state.items()}


def prefixed(prefix: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        lambda state: {"model_state_dict": state},
        prefixed("module."),
        prefixed("_orig_mod."),
        prefixed("_orig_mod.module."),
        lambda state: {"state_dict": prefixed("model.")(state)},
        lambda state: {name: value for name, value in state.items() if "num_batches" not in name},
    ],
    ids=["plain", "state_dict", "model", "model_state_dict", "module.", "compiled", "both", "lightning", "old norm"],
)
def test_checkpoints_of_every_wrapper_fit(folder: Path, wrap: Callable[[dict[str, Tensor]], Any]) -> None:
    wanted = other_weights()
    torch.save(wrap(wanted), folder / "w.pt")
    model = network()
    load_weights(model, read_weights(folder / "w.pt"), "w.pt")
    for name, value in model.state_dict().items():
        assert torch.equal(value, wanted[name]), name


def test_a_compiled_model_takes_plain_weights() -> None:
    wanted = other_weights()
    wrapped = nn.Module()
    wrapped.add_module("_orig_mod", network())
    load_weights(wrapped, wanted, "w")
    assert torch.equal(wrapped.state_dict()["_orig_mod.0.weight"], wanted["0.weight"])


def test_a_part_that_is_called_module_keeps_its_name() -> None:
    model = nn.ModuleDict({"module": nn.Linear(2, 2), "model": nn.Linear(2, 2)})
    wanted = {name: torch.full_like(value, 3.0) for name, value in model.state_dict().items()}
    load_weights(model, wanted, "w")
    assert all(torch.equal(value, wanted[name]) for name, value in model.state_dict().items())


def test_safetensors(folder: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    wanted = other_weights()
    save_file(wanted, folder / "w.safetensors")
    state = read_weights(folder / "w.safetensors")
    assert all(torch.equal(state[name], value) for name, value in wanted.items())
    (folder / "half.safetensors").write_bytes((folder / "w.safetensors").read_bytes()[:50])
    with pytest.raises(InputError, match="must be a whole safetensors file"):
        read_weights(folder / "half.safetensors")


class Touches:
    """Unpickled, it would leave a trace."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("trace").touch, ())


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_nothing_in_a_file_is_executed(folder: Path, save: Callable[[Any, Path], None]) -> None:
    save({"0.weight": Touches()}, folder / "w.pt")
    with pytest.raises(InputError, match=r"w.pt' must (hold tensors alone|be a whole file)"):
        read_weights(folder / "w.pt")
    assert not (folder / "trace").exists()


def test_a_whole_pickled_model_is_refused_by_name(folder: Path) -> None:
    torch.save(network(), folder / "w.pt")
    with pytest.raises(InputError, match=r"holds other Python objects, which leaky never unpickles: save model.state"):
        read_weights(folder / "w.pt")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_program_is_refused_by_name(folder: Path) -> None:
    torch.jit.save(torch.jit.script(network()), str(folder / "w.pt"))
    with pytest.raises(InputError, match="it is a TorchScript program"):
        read_weights(folder / "w.pt")


def test_files_that_are_none(folder: Path) -> None:
    torch.save(other_weights(), folder / "w.pt")
    (folder / "half.pt").write_bytes((folder / "w.pt").read_bytes()[:-400])
    (folder / "text.pt").write_text("hello")
    (folder / "empty.pt").write_bytes(b"")
    for name in ("half.pt", "text.pt", "empty.pt"):
        with pytest.raises(InputError, match=f"{name}' must be a whole file of torch.save") as caught:
            read_weights(folder / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"there is none at 'absent.pt'"):
        read_weights("absent.pt")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3, "lr": 0.1}, {}, torch.zeros(3)])
def test_a_file_without_a_state_dict(folder: Path, content: Any) -> None:
    torch.save(content, folder / "w.pt")
    with pytest.raises(InputError, match="must hold a state dict, itself or under one of state_dict"):
        read_weights(folder / "w.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("0.bias"), r"w must fit the model: 1 names of the model are missing \(0.bias\)"),
        (lambda s: s.update(head=torch.zeros(1)), r"1 names are not the model's \(head\)"),
        (
            lambda s: s.update({"0.weight": torch.zeros(3, 4)}),
            r"1 shapes differ \('0.weight' is \(3, 4\) where the model has \(3, 2\)\)",
        ),
        (lambda s: [s.pop(name) for name in list(s)[:-1]], r"are missing \(0.weight, 0.bias, 1.weight and \d+ more\)"),
    ],
)
def test_a_misfit_is_told_in_one_line(change: Callable[[dict[str, Tensor]], object], message: str) -> None:
    state = other_weights()
    change(state)
    with pytest.raises(InputError, match=message) as caught:
        load_weights(network(), state, "w")
    assert "\n" not in str(caught.value)
