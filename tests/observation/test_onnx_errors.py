"""A wrong model, wrong data or a missing package gives one clear line; weights may lie in files of their own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.onnx_graphs import Array, graph, normal

import leaky
from leaky.errors import InputError, MissingExtraError
from leaky.structure.onnx import reading

MODEL = graph("net (float[N,6] x) => (float[N,8] y) { z = MatMul(x, w) y = Relu(z) }", w=normal(6, 8))
TWO = graph("net (float[N,6] x, float[N,6] other) => (float[N,6] y) { z = Add(x, other) y = Relu(z) }")
UNKNOWN = graph("net (float[N,6] x) => (float[N,6] y) { y = com.example.Act(x) }", domains=', "com.example": 1')
X = normal(20, 6)

WRONG_MODELS = {
    "garbage": (b"this is not an ONNX model, whatever its name", "must be a whole ONNX model"),
    "nothing": (b"", "must be a whole ONNX model"),
    "truncated": (MODEL[: len(MODEL) // 2], "must be a whole ONNX model"),
    "an unknown operator": (UNKNOWN, "one that onnxruntime can run: .*Act"),
    "no input": (graph("net () => (float[6] y) { y = Relu(w) }", w=normal(6)), "must have an input"),
}


@pytest.mark.parametrize("name", WRONG_MODELS)
@pytest.mark.parametrize("as_file", [True, False])
def test_wrong_models(name: str, as_file: bool, tmp_path: Path) -> None:
    contents, message = WRONG_MODELS[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(contents)
    with pytest.raises(InputError, match=message) as caught:
        leaky.observe(path if as_file else contents, X)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'.*none.onnx' must be a file that can be read: No such file"):
        leaky.observe(tmp_path / "none.onnx", X)


WRONG_DATA: dict[str, tuple[bytes, Any, str]] = {
    "too many axes": (MODEL, normal(20, 2, 6), r"'x' must have shape N × 6, not 20 × 2 × 6"),
    "another length": (MODEL, normal(20, 7), r"'x' must have shape N × 6, not 20 × 7"),
    "integers for floats": (MODEL, np.zeros((20, 6), np.uint8), "'x' must be float32, not uint8"),
    "words": (MODEL, np.zeros((20, 6), "U1"), "must be an array of numbers or booleans, not <U1"),
    "no array": (MODEL, [3.5], "must be an array of numbers or booleans, not float"),
    "no data": (MODEL, [], "at least one sample"),
    "no samples": (MODEL, X[:0], "at least one sample"),
    "a file's name": (MODEL, "x.npy", "data must be an array, arrays by input or an iterable of batches, not str"),
    "an unknown name": (MODEL, {"z": X}, "inputs are 'x'; 'x' missing"),
    "one name too many": (MODEL, {"x": X, "z": X}, "inputs are 'x'; 'z' unknown"),
    "a missing input": (TWO, X, "inputs are 'x', 'other'; 'other' missing: give the arrays by name"),
    "inputs that do not fit together": (TWO, {"x": X, "other": X[:7]}, r"could not run on 'x' .*'other'"),
}


@pytest.mark.parametrize("name", WRONG_DATA)
def test_wrong_data(name: str) -> None:
    model, data, message = WRONG_DATA[name]
    with pytest.raises(InputError, match=message) as caught:
        leaky.observe(model, data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", [{"loss": lambda output, batch: output}, {"device": "cpu"}, {"mode": "train"}])
def test_what_only_torch_can_do_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="ONNX"):
        leaky.observe(MODEL, X, **option)


def saved_apart(folder: Path) -> Path:
    path = folder / "model.onnx"
    proto = onnx.load_model_from_string(MODEL)
    onnx.save_model(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def fired(model: Any) -> Array:
    return leaky.observe(model, X).sites[0].statistics.fired


def test_weights_in_a_file_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved_apart(tmp_path)
    assert b"raw" not in path.read_bytes()
    np.testing.assert_array_equal(fired(path), fired(MODEL))
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(fired("model.onnx"), fired(MODEL))
    with pytest.raises(InputError, match="must be given as a path"):
        leaky.observe(path.read_bytes(), X)
    (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(InputError, match=r"must be one that onnxruntime can run|must be whole"):
        leaky.observe(path, X)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InputError, match=r"must be one that onnxruntime can run|must be whole"):
        leaky.observe(path, X)


def test_large_weights_wait_in_a_folder_that_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fired(MODEL)
    monkeypatch.setattr(reading, "IN_MEMORY", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "model.onnx").write_bytes(MODEL)
    np.testing.assert_array_equal(fired(MODEL), expected)
    np.testing.assert_array_equal(fired(tmp_path / "model.onnx"), expected)
    with pytest.raises(InputError):
        leaky.observe(MODEL, X[:, :2])
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_names_the_extra(package: str) -> None:
    program = f"""
import sys
sys.modules[{package!r}] = None
import leaky
try:
    leaky.observe("model.onnx", [])
except {MissingExtraError.__module__}.MissingExtraError as error:
    print(error)
"""
    command = [sys.executable, "-c", program.replace("import leaky\n", "import leaky, leaky.errors\n")]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "pip install 'leaky[onnx]'" in run.stdout


MEMORY = """
import resource, sys, numpy as np, onnxruntime, torch
import leaky, leaky.observation.onnx_route
torch.set_num_threads(1)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
draw = np.random.default_rng(0).standard_normal
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(10):
    session.run(None, {"x": draw((100, 3, 16, 16), dtype=np.float32)})
plain = peak()
record = leaky.observe(sys.argv[1], (draw((100, 3, 16, 16), dtype=np.float32) for _ in range(100)))
assert record.samples == 10_000 and len(record.sites) == 4
print((peak() - plain) / 1024)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="resource is a Unix module")
def test_ten_thousand_samples_within_fifty_megabytes(tmp_path: Path) -> None:
    text = """
    net (float[N,3,16,16] x) => (float[N,10] y) {
        a = Conv <pads = [1,1,1,1]> (x, k) b = Relu(a) c = Conv <pads = [1,1,1,1]> (b, l) d = Relu(c)
        e = MaxPool <kernel_shape = [2,2], strides = [2,2]> (d) f = Conv <pads = [1,1,1,1]> (e, m)
        g = LeakyRelu <alpha = 0.1> (f) h = Flatten(g) i = MatMul(h, v) j = Relu(i) y = MatMul(j, w)
    }
    """
    weights = {"k": normal(32, 3, 3, 3), "l": normal(64, 32, 3, 3), "m": normal(64, 64, 3, 3)}
    path = tmp_path / "model.onnx"
    path.write_bytes(graph(text, **weights, v=normal(4096, 256), w=normal(256, 10)))
    command = [sys.executable, "-c", MEMORY, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert float(run.stdout) <= 50
