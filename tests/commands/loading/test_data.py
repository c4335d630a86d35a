"""DATA: the same samples each time, lazily where large, and never a pickle."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from leaky.commands.loading import Model, load_data
from leaky.commands.loading import arrays as arrays_module
from leaky.errors import InputError

pytestmark = pytest.mark.usefixtures("folder")


class Masked(nn.Module):
    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return tokens * mask


class Anything(nn.Module):
    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        return next(iter(inputs.values()))


LINEAR, MASKED, ANYTHING = (Model(m, "m") for m in (nn.Linear(2, 2), Masked(), Anything()))


def collected(batches: Any) -> dict[str, np.ndarray]:
    parts = list(batches)
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def test_an_npy_file_is_mapped_and_not_read(folder: Path) -> None:
    x = np.arange(12.0).reshape(6, 2)
    np.save(folder / "x.npy", x)
    data = load_data("x.npy", LINEAR)
    assert isinstance(data.batches, np.memmap)
    np.testing.assert_array_equal(data.batches, x)
    assert (data.name, data.samples, data.form) == ("x.npy", 6, "float64 of shape (6, 2)")


@pytest.mark.parametrize("kind", ["int64", "uint8", "bool", "float16"])
def test_types_that_frameworks_know_stay_as_they_are(folder: Path, kind: str) -> None:
    np.save(folder / "x.npy", np.ones((3, 2), kind))
    assert load_data("x.npy", LINEAR).batches.dtype == kind


def test_types_that_no_framework_knows_are_made_plain(folder: Path) -> None:
    np.save(folder / "big.npy", np.arange(4, dtype=">f4").reshape(2, 2))
    assert load_data("big.npy", LINEAR).batches.dtype == np.dtype("float32")


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize <= 8, reason="long double is double here")
def test_long_doubles_become_doubles(folder: Path) -> None:
    np.save(folder / "long.npy", np.ones((2, 2), np.longdouble))
    data = load_data("long.npy", LINEAR)
    assert data.batches.dtype == np.float64
    assert data.notes == ("long.npy was cast from float128 to float32",)


def test_a_cast_to_the_models_precision_is_told(folder: Path) -> None:
    np.save(folder / "x.npy", np.ones((3, 2)))
    assert load_data("x.npy", LINEAR).notes == ("x.npy was cast from float64 to float32",)
    assert load_data("x.npy", Model(nn.Linear(2, 2).double(), "m")).notes == ()
    assert load_data("x.npy", MASKED).notes == (), "a model without parameters takes what comes"
    np.save(folder / "i.npy", np.ones((3, 2), int))
    assert load_data("i.npy", LINEAR).notes == (), "indices stay indices"


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{}], object), "must hold numbers; it holds pickled Python objects, which leaky never reads"),
        (np.array(["a"]), "must hold numbers, not <U1"),
        (np.array([1j]), "must hold numbers, not complex128"),
        (np.array(3.0), "must have at least one sample along axis 0; its shape is \\(\\)"),
        (np.zeros((0, 2)), "must have at least one sample along axis 0; its shape is \\(0, 2\\)"),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_arrays_that_are_no_samples(folder: Path, array: np.ndarray, message: str, suffix: str) -> None:
    name = f"x.{suffix}"
    if suffix == "npy":
        np.save(folder / name, array)
    else:
        np.savez(folder / name, x=array)
    with pytest.raises(InputError, match=message):
        load_data(name, LINEAR)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_damaged_files(folder: Path, suffix: str) -> None:
    np.save(folder / "x.npy", np.ones((50, 2)))
    np.savez(folder / "x.npz", x=np.ones((50, 2)))
    whole = (folder / f"x.{suffix}").read_bytes()
    for content in (b"", b"hello", whole[:60], whole[:-200]):
        (folder / f"bad.{suffix}").write_bytes(content)
        with pytest.raises(InputError, match=f"DATA 'bad.{suffix}' must be a whole .{suffix} file"):
            load_data(f"bad.{suffix}", LINEAR)
    with pytest.raises(InputError, match="must be a file; there is none"):
        load_data(f"absent.{suffix}", LINEAR)


def test_one_array_of_any_name_is_the_input(folder: Path) -> None:
    np.savez(folder / "x.npz", whatever=np.ones((3, 2)))
    data = load_data("x.npz", LINEAR)
    assert isinstance(data.batches, np.ndarray)
    assert (data.batches.shape, data.samples) == ((3, 2), 3)


def test_labels_beside_the_input_are_left_alone_and_named(folder: Path) -> None:
    np.savez(folder / "x.npz", X=np.ones((3, 2)), y=np.zeros(3))
    data = load_data("x.npz", LINEAR)
    assert isinstance(data.batches, np.ndarray)
    assert data.notes == (
        "x.npz:X was cast from float64 to float32",
        "y in x.npz is no input of the model and was left alone",
    )


@pytest.mark.parametrize("first", ["tokens", "x", "X", "input"])
def test_arrays_are_inputs_by_name(folder: Path, first: str) -> None:
    tokens, mask = np.arange(10).reshape(5, 2), np.ones((5, 1), bool)
    np.savez(folder / "x.npz", mask=mask, **{first: tokens})
    data = load_data("x.npz", MASKED, batch_size=2)
    assert data.samples == 5
    for _ in range(2):
        found = collected(data.batches)
        np.testing.assert_array_equal(found["tokens"], tokens)
        np.testing.assert_array_equal(found["mask"], mask)
    assert [len(batch["mask"]) for batch in data.batches] == [2, 2, 1]


def test_a_model_that_takes_any_name_gets_all(folder: Path) -> None:
    np.savez(folder / "x.npz", a=np.ones(3), b=np.zeros(3))
    assert collected(load_data("x.npz", ANYTHING).batches).keys() == {"a", "b"}


def test_arrays_that_are_no_inputs(folder: Path) -> None:
    np.savez(folder / "x.npz", a=np.ones(3), b=np.zeros(3))
    with pytest.raises(InputError, match=r"named like the model's inputs \(tokens, mask\) or 'x', not 'a', 'b'"):
        load_data("x.npz", MASKED)
    np.savez(folder / "y.npz", tokens=np.ones(3), mask=np.zeros(4))
    with pytest.raises(InputError, match=r"must have the same number of samples, not \{'tokens': 3, 'mask': 4\}"):
        load_data("y.npz", MASKED)
    np.savez(folder / "z.npz")
    with pytest.raises(InputError, match="must hold an array, and it is empty"):
        load_data("z.npz", MASKED)


def test_noise_is_the_same_for_any_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_data("noise:1000x3x5", LINEAR, seed=7)
    monkeypatch.setattr(arrays_module, "LAZY_NOISE", 10)
    for size in (1, 7, 256, 5000):
        pieces = load_data("noise:1000,3,5", LINEAR, seed=7, batch_size=size)
        for _ in range(2):
            np.testing.assert_array_equal(np.concatenate(list(pieces.batches)), whole.batches)
    assert (whole.samples, whole.on_noise, whole.batches.dtype) == (1000, True, np.float32)
    assert abs(whole.batches.mean()) < 0.05
    assert abs(whole.batches.std() - 1) < 0.05
    assert not np.array_equal(load_data("noise:1000x3x5", LINEAR, seed=8).batches, whole.batches)


def test_large_noise_is_made_as_it_is_needed() -> None:
    batches = load_data("noise:1000000x1000", LINEAR, batch_size=4).batches
    assert inspect.isgenerator(iter(batches))
    assert next(iter(batches)).shape == (4, 1000)


class Looks(nn.Module):
    """Looks its input up, some of its columns in a smaller table, behind a mask of its own."""

    def __init__(self, bag: bool = False) -> None:
        super().__init__()
        table = nn.EmbeddingBag if bag else nn.Embedding
        self.large, self.small = table(50, 4, padding_idx=0), table(7, 4, padding_idx=3)
        self.unused, self.norm = nn.Embedding(2, 4), nn.BatchNorm1d(4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        left, right = self.large(ids[:, :2]), self.small(ids[:, 2:])
        return self.norm((left + right).reshape(len(ids), -1, 4).mean(1)) * (ids != 0).any(1, keepdim=True)


@pytest.mark.parametrize("bag", [False, True])
def test_noise_for_a_model_that_looks_its_input_up_is_tokens(bag: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Looks(bag)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    data = load_data("noise:400x4", Model(network, "m"), seed=2)
    assert (data.batches.dtype, data.form, data.name) == (np.int64, "int64 of shape (400, 4)", "random tokens, seed 2")
    assert {*data.batches.reshape(-1).tolist()} == {1, 2, 4, 5, 6}, "what every table knows, and no padding"
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert network(torch.from_numpy(data.batches)).shape == (400, 4)
    monkeypatch.setattr(arrays_module, "LAZY_NOISE", 10)
    pieces = load_data("noise:400x4", Model(network, "m"), seed=2, batch_size=7)
    np.testing.assert_array_equal(np.concatenate(list(pieces.batches)), data.batches)


class Numbers(nn.Module):
    """Takes numbers, and looks up a class that it makes of them itself."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(5, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + self.table((x[:, 0] > 0).long())


def test_noise_for_a_model_that_takes_numbers_stays_normal_whatever_it_looks_up() -> None:
    assert load_data("noise:20x4", Model(Numbers(), "m")).batches.dtype == np.float32
    assert load_data("noise:20x3", Model(Numbers(), "m")).batches.dtype == np.float32, "it cannot run on these"


def test_an_onnx_file_says_what_it_looks_up(folder: Path) -> None:
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    table = onnx.numpy_helper.from_array(np.zeros((9, 3), np.float32), "table")
    for kind, dtype in ((onnx.TensorProto.INT32, np.int64), (onnx.TensorProto.FLOAT, np.float32)):
        nodes = [
            make.make_node("Cast", ["ids"], ["whole"], to=onnx.TensorProto.INT64),
            make.make_node("Gather", ["table", "whole"], ["y"]),
        ]
        ends = (
            [make.make_tensor_value_info("ids", kind, ["n", 2])],
            [make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2, 3])],
        )
        onnx.save(make.make_model(make.make_graph(nodes, "g", *ends, [table])), folder / "m.onnx")
        data = load_data("noise:300x2", Model(folder / "m.onnx", "m.onnx"))
        assert data.batches.dtype == dtype
        assert dtype == np.float32 or {*data.batches.reshape(-1).tolist()} == {*range(9)}


@pytest.mark.parametrize("shape", ["", "x", "3x", "3xx2", "-3", "3x0", "0", "2.5", "3 x 2", "noise"])
def test_shapes_that_are_none(shape: str) -> None:
    with pytest.raises(InputError, match="noise must have"):
        load_data(f"noise:{shape}", LINEAR)


CODE = """
import numpy as np, torch
from torch.utils.data import DataLoader, Dataset, TensorDataset
tensor = torch.ones(4, 2)
array = np.ones((4, 2))
pair = (torch.ones(4, 2), torch.zeros(4))
batches = [torch.ones(2, 2), torch.ones(2, 2)]
number = 3
def generate():
    for value in range(2):
        yield torch.full((2, 2), float(value)), torch.zeros(2)
def loader():
    return DataLoader(TensorDataset(torch.ones(4, 2)), batch_size=2)
class Digits(Dataset):
    def __len__(self):
        return 5
    def __getitem__(self, index):
        if index >= 5:
            raise IndexError
        return torch.full((2,), float(index)), 0
def nothing():
    pass
"""


@pytest.mark.parametrize("name", ["tensor", "array", "pair"])
def test_arrays_from_code(folder: Path, name: str) -> None:
    (folder / "code_data.py").write_text(CODE)
    data = load_data(f"code_data.py:{name}", LINEAR)
    assert tuple(data.batches.shape) == (4, 2)
    assert data.name == f"code_data.py:{name}"


@pytest.mark.parametrize("name", ["batches", "generate", "loader", "Digits"])
def test_batches_from_code_can_be_run_through_twice(folder: Path, name: str) -> None:
    (folder / "code_data.py").write_text(CODE)
    batches = load_data(f"code_data.py:{name}", LINEAR, batch_size=2).batches
    first, second = ([b if torch.is_tensor(b) else b[0] for b in batches] for _ in range(2))
    assert tuple(first[0].shape) == (2, 2)
    assert len(first) == (3 if name == "Digits" else 2)
    assert torch.equal(torch.cat(first), torch.cat(second))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("code_data.py:number", "must be a tensor, an array, an iterable of batches or a function that returns one"),
        ("code_data.py:nothing", "function that returns one, not NoneType"),
        ("x.csv", "DATA must be a .npy or .npz file, noise:SHAPE, module:name or file.py:name, not 'x.csv'"),
    ],
)
def test_what_is_no_data(folder: Path, name: str, message: str) -> None:
    (folder / "code_data.py").write_text(CODE)
    with pytest.raises(InputError, match=message):
        load_data(name, LINEAR)
