"""Reads an ONNX file; what is wrong with it is said in one line.

Nothing of the file is trusted. Large weights are moved to a file of their own, so that reading them is mapping them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from leaky.errors import InputError
from leaky.structure.onnx.model import Declared, OnnxModel, operations_of
from leaky.structure.onnx.nesting import must_be_bounded

# After the model's own module, which names the extra where the package is missing.
import onnx  # isort: skip
from onnx import external_data_helper, helper, inliner, shape_inference  # isort: skip

IN_MEMORY = 1 << 20
"""Bytes of weights up to which they stay in memory."""


def load(model: str | os.PathLike[str] | bytes, scratch: Path) -> OnnxModel:
    """Read a model.

    Args:
        model: the path of a file, or its contents.
        scratch: an empty folder that outlives the model; large weights go there.

    Raises:
        InputError: if it is no whole ONNX model, or its weights lie in files and only its contents are given.
    """
    if isinstance(model, bytes):
        label = "the ONNX model"
        proto, folder, name = _parse(model, label), None, ""
    else:
        path, label = Path(model), repr(os.fspath(model))
        proto, folder, name = _parse(path, label), path.parent, path.name
    name = name or proto.graph.name or "ONNX model"
    apart = any(map(external_data_helper.uses_external_data, proto.graph.initializer))
    if apart and folder is None:
        raise InputError("the ONNX model has weights in files of their own and must be given as a path, not as bytes")
    if proto.functions:
        must_be_bounded(proto, label)
        proto = inliner.inline_local_functions(proto)
    if not apart and sum(len(tensor.raw_data) for tensor in proto.graph.initializer) > IN_MEMORY:
        proto, folder = _moved_out(proto, scratch), scratch
    return _as_data(proto, name, folder)


def _parse(source: Path | bytes, label: str) -> Any:
    try:
        if isinstance(source, bytes):
            proto = onnx.load_model_from_string(source)
        else:
            proto = onnx.load_model(source, load_external_data=False)
    except OSError as error:
        raise InputError(f"{label} must be a file that can be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can raise anything
        raise InputError(f"{label} must be a whole ONNX model: {_first_line(error)}") from error
    if not proto.graph.output:
        raise InputError(f"{label} must be a whole ONNX model; it has no graph in it")
    return proto


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _moved_out(proto: Any, scratch: Path) -> Any:
    """The same model with its weights in a file."""
    path = scratch / "model.onnx"
    onnx.save_model(proto, path, save_as_external_data=True, location="weights", convert_attribute=False)
    return onnx.load_model(path, load_external_data=False)


def _as_data(proto: Any, name: str, folder: Path | None) -> OnnxModel:
    graph = proto.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    inputs = {value.name: _declared(value) for value in graph.input if value.name not in weights}
    types, others = _types(proto)
    frame = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
    frame.functions.extend(proto.functions)
    frame.graph.name = "part"
    frame.graph.sparse_initializer.extend(graph.sparse_initializer)
    outputs = tuple(value.name for value in graph.output)
    return OnnxModel(name, tuple(operations_of(graph)), inputs, outputs, weights, types, others, folder, frame)


def _declared(value: Any) -> Declared:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise InputError(
            f"input {value.name!r} of the ONNX model must be a tensor; it is a {value.type.WhichOneof('value')}"
        )
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim)
    return Declared(np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)), shape)


def _types(proto: Any) -> tuple[dict[str, int], frozenset[str]]:
    """The element types of the graph's tensors, and the names of its values that are none."""
    try:
        graph = shape_inference.infer_shapes(proto).graph
    except Exception:  # operators that onnx does not know; then fewer types are told
        graph = proto.graph
    types, others = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}, set()
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.HasField("tensor_type") and value.type.tensor_type.elem_type:
            types[value.name] = value.type.tensor_type.elem_type
        elif value.type.WhichOneof("value") not in (None, "tensor_type"):
            others.add(value.name)
    return types, frozenset(others)
