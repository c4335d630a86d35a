"""The Keras layer on each backend that is here, in a process of its own, against the one oracle."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from leaky.activation import formula

if importlib.util.find_spec("keras") is None:  # importing it would import the backend of its choice
    pytest.skip("Keras is not installed", allow_module_level=True)

SLOPES = {"number": 0.1, "zero": 0.0, "channels": [0.01, 0.25, -0.5], "channels with zeros": [0.0, 0.2, 0.0]}
BOUNDS = {"plain": (1.0, None), "gain and clamp": (2.0, 3.0)}
X = np.random.default_rng(0).normal(0, 2, (6, 4, 3)).astype(np.float32)
X[0, 0] = [0.0, -0.0, np.inf]

VALUES = f"""
import sys
import keras, numpy as np
from leaky.activation import keras as ours
given, got = np.load(sys.argv[1])["x"], {{}}
for name, slope in {SLOPES!r}.items():
    for bounds, (gain, clamp) in {BOUNDS!r}.items():
        layer = ours.LeakyReLU(slope, gain=gain, clamp=clamp)
        again = ours.LeakyReLU.from_config(layer.get_config())
        numbers = slope if isinstance(slope, float) else keras.ops.convert_to_tensor(np.float32(slope))
        composed = ours.by_operations(keras.ops.convert_to_tensor(given), numbers, gain, clamp, -1)
        for way, y in (("layer", layer(given)), ("again", again(given)), ("composed", composed)):
            got[f"{{name}}/{{bounds}}/{{way}}"] = keras.ops.convert_to_numpy(y)
np.savez(sys.argv[2], **got)
"""

TRAINING = """
import sys, tempfile, os
import keras, numpy as np
from leaky.activation.keras import LeakyReLU
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(512, 8)).astype("float32")
y = np.where(x > 0, x, 0.3 * x).sum(1, keepdims=True)
total = keras.layers.Dense(1, kernel_initializer="ones", trainable=False)
model = keras.Sequential([keras.layers.Input((8,)), LeakyReLU(0.0, learnable=True), total])
model.compile(keras.optimizers.Adam(0.05), "mse")
for rate in (0.05, 0.005):
    model.optimizer.learning_rate = rate
    model.fit(x, y, epochs=30, verbose=0, batch_size=128)
learnt = float(keras.ops.convert_to_numpy(model.layers[0].slopes)[0])
assert abs(learnt - 0.3) < 0.02, learnt
path = os.path.join(tempfile.mkdtemp(), "model.keras")
model.save(path)
again = keras.models.load_model(path)
assert np.array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
half = LeakyReLU([0.25] * 8, learnable=True, dtype="mixed_float16")
assert keras.backend.standardize_dtype(half(x).dtype) == "float16"
assert keras.backend.standardize_dtype(half.slopes.dtype) == "float32"
"""


def _run(backend: str, program: str, *arguments: Path) -> None:
    if backend != "numpy":
        pytest.importorskip(backend)
    environment = os.environ | {"KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error::UserWarning", "-c", program, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("backend", ["torch", "jax", "numpy"])
def test_the_layer_and_its_operations_are_the_formula(backend: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "given.npz", x=X)
    _run(backend, VALUES, tmp_path / "given.npz", tmp_path / "got.npz")
    got = np.load(tmp_path / "got.npz")
    assert len(got.files) == len(SLOPES) * len(BOUNDS) * 3
    for name, slope in SLOPES.items():
        for bounds, (gain, clamp) in BOUNDS.items():
            exact = formula.value(X, np.float32(slope), gain=gain, clamp=clamp, channel_dim=-1)
            for way in ("layer", "again", "composed"):
                np.testing.assert_allclose(got[f"{name}/{bounds}/{way}"], exact, rtol=2e-7)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_learnable_slope_is_learnt_from_zero_and_saved_with_the_model(backend: str) -> None:
    _run(backend, TRAINING)


def test_wrong_slopes_are_refused() -> None:
    program = """
from leaky.activation.keras import LeakyReLU
from leaky.errors import InputError
for slope, word in ((float("nan"), "not NaN"), ([], "at least one slope"), ("0.1", "real number")):
    try:
        LeakyReLU(slope)
    except InputError as error:
        assert word in str(error), error
    else:
        raise AssertionError(slope)
"""
    _run("numpy", program)
