"""MODEL: what is taken, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from leaky.commands.loading import load_model
from leaky.commands.loading.models import onnx_inputs
from leaky.errors import InputError

pytestmark = pytest.mark.usefixtures("folder")

CODE = """
import torch
from torch import nn
net = nn.Linear(2, 3)
class Net(nn.Linear):
    def __init__(self):
        super().__init__(2, 3)
def build():
    return nn.Linear(2, 3)
def nothing():
    pass
number = 3
"""


@pytest.fixture(autouse=True)
def code(folder: Path) -> None:
    (folder / "code.py").write_text(CODE)
    (folder / "code_of_mine.py").write_text(CODE)


@pytest.mark.parametrize("name", ["net", "Net", "build"])
def test_a_module_a_class_and_a_function(name: str) -> None:
    model = load_model(f"code_of_mine.py:{name}")
    assert isinstance(model.model, nn.Linear)
    assert model.name == f"code_of_mine.py:{name}"


def test_the_seed_makes_the_same_model_again() -> None:
    first, second, third = (load_model("code_of_mine.py:build", seed=seed).model for seed in (3, 3, 4))
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    assert isinstance(third, nn.Linear)
    assert torch.equal(first.weight, second.weight)
    assert not torch.equal(first.weight, third.weight)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("code_of_mine.py:nothing", "must be a torch.nn.Module or a function that returns one, not None"),
        ("code_of_mine.py:number", "must be a torch.nn.Module or a function that returns one, not int"),
        ("weights.pt", "leaky check path/to/file.py:model --weights weights.pt"),
        ("absent.onnx", "must be an ONNX file; there is none"),
    ],
)
def test_what_is_no_model(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_model(name)


def test_onnx_files_have_their_weights_in_them(folder: Path) -> None:
    (folder / "net.onnx").write_bytes(b"")
    assert load_model("net.onnx").model == Path("net.onnx")
    with pytest.raises(InputError, match="has its weights in it"):
        load_model("net.onnx", weights="weights.pt")


def test_onnx_inputs_leave_weights_out(folder: Path) -> None:
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [onnx.helper.make_tensor_value_info(name, kind, [1]) for name in "xw"],
        [onnx.helper.make_tensor_value_info("y", kind, [1])],
        [onnx.helper.make_tensor("w", kind, [1], [1.0])],
    )
    onnx.save(onnx.helper.make_model(graph), folder / "net.onnx")
    assert onnx_inputs(folder / "net.onnx") == ["x"]
    (folder / "half.onnx").write_bytes((folder / "net.onnx").read_bytes()[:20])
    with pytest.raises(InputError, match="must be a whole ONNX file"):
        onnx_inputs(folder / "half.onnx")
