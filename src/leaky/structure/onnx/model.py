"""An ONNX file as plain data: its operations in order, its weights, what it declares of its inputs.

Nothing is run and nothing of the file is trusted. Large weights stay in files, where the runtime maps them, so that
neither this data nor a part of the model that is handed to the runtime holds a copy of them.
"""

from __future__ import annotations

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
    from onnx import external_data_helper, helper, numpy_helper
except ImportError as error:
    raise MissingExtraError(
        "reading an ONNX model needs the packages of an extra: pip install 'leaky[onnx]'"
    ) from error

Array: TypeAlias = NDArray[Any]
ONNX_VERSION: str = onnx.__version__

_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
_STANDARD = ("", "ai.onnx")


@dataclass(frozen=True, eq=False)
class OnnxOperation:
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
    operations: tuple[OnnxOperation, ...]
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


def operations_of(graph: Any) -> Iterator[OnnxOperation]:
    """The nodes of a graph as the file has it."""
    names: dict[str, int] = {}
    for node in graph.node:
        name = node.name or next(filter(None, node.output), node.op_type)
        names[name] = names.get(name, 0) + 1
        yield OnnxOperation(
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
