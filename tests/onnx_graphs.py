"""Small ONNX graphs from their text, and what onnxruntime, asked directly, says of their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper, parser

Array = NDArray[Any]


def graph(text: str, *, opset: int = 20, domains: str = "", functions: str = "", **weights: Array | float) -> bytes:
    """A model whose graph is `text`, with initializers; a float becomes one of shape ().

    Args:
        text: "net (float[N,6] x) => (float[N,6] y) { y = Relu(x) }".
        opset: of ONNX's own operators.
        domains: further opset imports, ', "com.example": 1'.
        functions: the model's own functions, after the graph.
        weights: by name.
    """
    header = f'<ir_version: 9, opset_import: ["": {opset}{domains}]>'
    model = parser.parse_model(f"{header} {text} {functions}")
    for name, value in weights.items():
        array = np.asarray(value, np.float32) if isinstance(value, float) else value
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return bytes(model.SerializeToString())


def fetch(model: bytes, names: list[str], feeds: Mapping[str, Array]) -> list[Array]:
    """Values of a model for some inputs, optimised as onnxruntime likes it."""
    proto = onnx.load_model_from_string(model)
    known = {output.name for output in proto.graph.output} | {value.name for value in proto.graph.input}
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run([name for name in names if name not in feeds], dict(feeds))
    given = dict(zip([name for name in names if name not in feeds], found, strict=True)) | dict(feeds)
    return [np.asarray(given[name]) for name in names]


def normal(*shape: int, seed: int = 0) -> Array:
    """Standard normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
