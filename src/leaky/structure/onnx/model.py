"""An ONNX file as plain data: its operations in order, its weights, what it declares of its inputs.

Nothing is run and nothing of the file is trusted. Large weights stay in files, where the runtime maps them, so that
neither this data nor a part of the model that is handed to the runtime holds a copy of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leaky.errors import InputError, MissingExtraError

try:
    import onnx
    from onnx import external_data_helper, helper, inliner, numpy_helper, shape_inference
except ImportError as error:
    raise MissingExtraError(
        "reading an ONNX model needs the packages of an extra: pip install 'leaky[onnx]'"
    ) from error

Array: TypeAlias = NDArray[Any]
ONNX_VERSION: str = onnx.__version__

_IN_MEMORY = 1 << 20
"""Bytes of weights up to which they stay in memory."""
_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
_STANDARD = ("", "ai.onnx")


@dataclass(frozen=True, eq=False)
class Operation:
    """One node of the graph.

    Attributes:
        name: the node's, or that of its first output where it has none; unique.
        kind: "Conv"; of another domain than ONNX's own "com.microsoft::FusedConv".
        inputs, outputs: names of values, "" for one that is left out.
        attributes: by name, subgraphs included.
        captured: values that its subgraphs read from the graph around them.
        proto: as the file has it.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    captured: tuple[str, ...]
    proto: Any

    @property
    def reads(self) -> tuple[str, ...]:
        """Every value that it needs."""
        return tuple(name for name in (*self.inputs, *self.captured) if name)

    @property
    def subgraphs(self) -> list[Any]:
        """The graphs among its attributes, as the file has them."""
        return [value for value in self.attributes.values() if isinstance(value, onnx.GraphProto)]

    def input(self, position: int) -> str:
        """The name of an input; "" where it is left out."""
        return self.inputs[position] if position < len(self.inputs) else ""


@dataclass(frozen=True)
class Declared:
    """What the file says of an input.

    Attributes:
        dtype: of the array that it takes.
        shape: a number, or the name of a free axis ("" without one); None where the file is silent.
    """

    dtype: np.dtype[Any]
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A model.

    Attributes:
        name: for reports.
        operations: in an order in which they can run.
        inputs, outputs: of the graph; an input that the file has a value for is a weight.
        weights: initializers by name, as the file has them.
        types: element types of tensors, as far as they can be told without running the model.
        others: values that are no tensors.
        folder: where weights that are not in the file lie.
        proto: the file without its nodes and weights.
    """

    name: str
    operations: tuple[Operation, ...]
    inputs: dict[str, Declared]
    outputs: tuple[str, ...]
    weights: dict[str, Any]
    types: dict[str, int]
    others: frozenset[str]
    folder: Path | None
    proto: Any

    def weight(self, name: str) -> Array:
        """The array of an initializer.

        Raises:
            InputError: if its file is missing or too short.
        """
        tensor = self.weights[name]
        if not external_data_helper.uses_external_data(tensor):
            return np.asarray(numpy_helper.to_array(tensor))
        try:
            return _mapped(tensor, self.folder or Path())
        except (OSError, ValueError) as error:
            raise InputError(f"the weight {name!r} lies in a file of its own, which must be whole: {error}") from error

    @cached_property
    def producers(self) -> dict[str, int]:
        """The index of the operation that makes each value."""
        return {name: index for index, op in enumerate(self.operations) for name in op.outputs if name}

    @cached_property
    def consumers(self) -> dict[str, list[int]]:
        """The indices of the operations that read each value."""
        found: dict[str, list[int]] = {}
        for index, op in enumerate(self.operations):
            for name in op.reads:
                found.setdefault(name, []).append(index)
        return found

    @cached_property
    def constants(self) -> frozenset[str]:
        """The values that no input has a part in."""
        found = set(self.weights)
        for op in self.operations:
            if op.kind not in _RANDOM and not op.subgraphs and found.issuperset(op.reads):
                found.update(op.outputs)
        return frozenset(found)

    @cached_property
    def without_data(self) -> frozenset[str]:
        """The constants, and the values that follow from shapes alone."""
        found = set(self.constants)
        for op in self.operations:
            if op.kind in ("Shape", "Size") or (op.kind not in _RANDOM and found.issuperset(op.reads)):
                found.update(op.outputs)
        return frozenset(found)

    def needed(self, wanted: Iterable[str]) -> list[int]:
        """The indices of the operations behind these values, in order."""
        waiting, found = [name for name in wanted if name in self.producers], set()
        while waiting:
            index = self.producers[waiting.pop()]
            if index not in found:
                found.add(index)
                waiting.extend(name for name in self.operations[index].reads if name in self.producers)
        return sorted(found)

    def part(self, operations: Sequence[Any], inputs: Sequence[str], outputs: Iterable[str]) -> bytes:
        """A model of some of the operations.

        Args:
            operations: nodes as the file has them, in order.
            inputs: values that are handed to it; their types must be known.
            outputs: values that it hands out.
        """
        part = onnx.ModelProto()
        part.CopyFrom(self.proto)
        part.graph.node.extend(operations)
        read = {name for node in operations for name in _reads(node)}
        part.graph.initializer.extend(tensor for name, tensor in self.weights.items() if name in read)
        part.graph.input.extend(helper.make_tensor_value_info(name, self.types[name], None) for name in inputs)
        part.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
        return bytes(part.SerializeToString())


def _mapped(tensor: Any, folder: Path) -> Array:
    """A weight in a file of its own, read where it is looked at and no earlier."""
    info = external_data_helper.ExternalDataInfo(tensor)
    path = (folder / info.location).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{info.location} is outside the model's folder")
    dtype, shape = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)), tuple(tensor.dims)
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "c", int(info.offset or 0), shape)


def shape_node(value: str, name: str) -> Any:
    """An operation that makes the shape of a value, under this name."""
    return helper.make_node("Shape", [value], [name])


def load(model: str | os.PathLike[str] | bytes, scratch: Path) -> OnnxModel:
    """Read a model.

    Args:
        model: the path of a file, or its contents.
        scratch: an empty folder that outlives the model; large weights go there.

    Raises:
        InputError: if it is no whole ONNX model, or its weights lie in files and only its contents are given.
    """
    if isinstance(model, bytes):
        proto, folder, name = _parse(model, "the ONNX model"), None, ""
    else:
        path = Path(model)
        proto, folder, name = _parse(path, repr(os.fspath(model))), path.parent, path.name
    name = name or proto.graph.name or "ONNX model"
    apart = any(map(external_data_helper.uses_external_data, proto.graph.initializer))
    if apart and folder is None:
        raise InputError("the ONNX model has weights in files of their own and must be given as a path, not as bytes")
    if proto.functions:
        proto = inliner.inline_local_functions(proto)
    if not apart and sum(len(tensor.raw_data) for tensor in proto.graph.initializer) > _IN_MEMORY:
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


def operations_of(graph: Any) -> Iterator[Operation]:
    """The nodes of a graph as the file has it."""
    names: dict[str, int] = {}
    for node in graph.node:
        name = node.name or next(filter(None, node.output), node.op_type)
        names[name] = names.get(name, 0) + 1
        yield Operation(
            name=name if names[name] == 1 else f"{name}#{names[name]}",
            kind=node.op_type if node.domain in _STANDARD else f"{node.domain}::{node.op_type}",
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            attributes={a.name: helper.get_attribute_value(a) for a in node.attribute},
            captured=tuple(dict.fromkeys(name for name in _reads(node) if name not in node.input)),
            proto=node,
        )


def _reads(node: Any) -> Iterator[str]:
    """The values that a node needs, those that its subgraphs take from around them included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {value.name for value in (*graph.input, *graph.initializer)}
            own.update(name for inner in graph.node for name in inner.output)
            yield from (name for inner in graph.node for name in _reads(inner) if name not in own)
            yield from (value.name for value in graph.output if value.name not in own)


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
