"""Runs an ONNX model with onnxruntime on the CPU in stages, so that few values are in memory at a time.

The graph is run as the file has it: no optimisation that would fuse an activation with the layer before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from leaky.errors import InputError, MissingExtraError
from leaky.structure.onnx.model import ONNX_VERSION, Array, OnnxModel, shape_node

try:
    import onnxruntime
except ImportError as error:
    raise MissingExtraError(
        "running an ONNX model needs the packages of an extra: pip install 'leaky[onnx]'"
    ) from error

VERSIONS = {"onnx": ONNX_VERSION, "onnxruntime": onnxruntime.__version__}
"""Of the packages of the extra."""
_FOLDER = "session.model_external_initializers_file_folder_path"


def seed_operators(seed: int) -> None:
    """Seed the random numbers that onnxruntime's operators draw."""
    onnxruntime.set_seed(seed)


class Session:
    """Some operations of a model, ready to run.

    Args:
        model: whose weights it needs.
        part: from `OnnxModel.part`.
        early_shapes: whether shapes are to be taken as soon as they can be, so that a value need not be kept for it.
    """

    def __init__(self, model: OnnxModel, part: bytes, early_shapes: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.enable_cpu_mem_arena = False  # it keeps what it once had
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if early_shapes:
            options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        if model.folder is not None:
            options.add_session_config_entry(_FOLDER, os.fspath(model.folder.absolute()))
        try:
            self._session = onnxruntime.InferenceSession(part, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of a dozen classes
            raise InputError(f"the ONNX model must be one that onnxruntime can run: {_words(error)}") from error

    def run(self, arrays: Mapping[str, Array]) -> list[Array]:
        """The outputs for these inputs.

        Raises:
            InputError: if the model cannot take them.
        """
        try:
            return list(self._session.run(None, dict(arrays)))
        except Exception as error:
            shapes = ", ".join(f"{name!r} {list(array.shape)}" for name, array in arrays.items())
            raise InputError(f"the ONNX model could not run on {shapes}: {_words(error)}") from error


def _words(error: Exception) -> str:
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line.rpartition("[ONNXRuntimeError] : ")[2]


_SMALL = 1 << 16
"""Entries of a weight that is looked at."""


def constant_values(model: OnnxModel) -> dict[str, Array]:
    """The constants that say how an operation works: bounds, slopes, axes, scalars; large weights are left out."""
    small = {name for name, tensor in model.weights.items() if np.prod(tensor.dims, dtype=np.int64) <= _SMALL}
    values = {name: model.weight(name) for name in sorted(small)}
    computed = [
        name
        for name in dict.fromkeys(name for op in model.operations for name in op.inputs)
        if name in model.constants and name not in model.weights
    ]
    if computed:
        operations = [model.operations[index].proto for index in model.needed(computed)]
        results = Session(model, model.part(operations, [], computed)).run({})
        values |= dict(zip(computed, results, strict=True))
    return values


class ShapeReader:
    """Tells the shape of every value of a model for given inputs."""

    def __init__(self, model: OnnxModel) -> None:
        self._model = model
        self._names = [name for op in model.operations for name in op.outputs if name and name not in model.others]
        self._session: Session | None = None
        self._given: dict[str, tuple[int, ...]] = {}
        self._found: dict[str, tuple[int, ...]] = {}

    def of(self, arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
        """By name, the inputs' included."""
        given = {name: tuple(array.shape) for name, array in arrays.items()}
        if given != self._given:
            session = self._session or self._opened()
            found = session.run(arrays)
            self._found = given | {name: tuple(map(int, s)) for name, s in zip(self._names, found, strict=True)}
            self._given = given
            if self._model.folder is None:  # else its weights are large, and a second copy of them is not kept
                self._session = session
        return self._found

    def _opened(self) -> Session:
        operations = [op.proto for op in self._model.operations]
        operations += [shape_node(name, name + _SHAPE) for name in self._names]
        part = self._model.part(operations, list(self._model.inputs), [name + _SHAPE for name in self._names])
        return Session(self._model, part, early_shapes=True)


_SHAPE = "/shape"


@dataclass(frozen=True, eq=False)
class _Stage:
    """Operations that run in one session.

    Attributes:
        operations: their indices; none where everything that is wanted is there already.
        inputs, outputs: the values that they take and hand out.
        wanted: the values to show after them.
        forgotten: the values that nothing needs any more then.
    """

    operations: list[int]
    inputs: list[str]
    outputs: list[str]
    wanted: Sequence[str]
    forgotten: list[str]


class Pipeline:
    """Runs a model up to some of its values, in stages, each of which shows a group of them.

    Args:
        model: the model.
        groups: the values that are wanted together, in the order in which the model makes them.
    """

    def __init__(self, model: OnnxModel, groups: Sequence[Sequence[str]]) -> None:
        stages = _stages(model, groups)
        if any(name not in model.types for stage in stages for name in stage.inputs):
            stages = _stages(model, [[name for group in groups for name in group]])
        self._stages = [(stage, _session(model, stage)) for stage in stages]

    def run(self, arrays: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
        """The values of each group in turn."""
        live = dict(arrays)
        for stage, session in self._stages:
            if session is not None:
                live.update(zip(stage.outputs, session.run({name: live[name] for name in stage.inputs}), strict=True))
            yield {name: live[name] for name in stage.wanted}
            for name in stage.forgotten:
                del live[name]


def _session(model: OnnxModel, stage: _Stage) -> Session | None:
    if not stage.operations:
        return None
    operations = [model.operations[index] for index in stage.operations]
    constant = model.needed(name for op in operations for name in op.reads if name in model.constants)
    ready = [model.operations[index].proto for index in sorted({*constant, *stage.operations})]
    return Session(model, model.part(ready, stage.inputs, stage.outputs))


def _stages(model: OnnxModel, groups: Sequence[Sequence[str]]) -> list[_Stage]:
    needed = model.needed(name for group in groups for name in group)
    waiting = [
        index for index in needed if not model.constants.issuperset(filter(None, model.operations[index].outputs))
    ]
    parts: list[list[int]] = []
    for group in groups:
        last = max((model.producers.get(name, -1) for name in group), default=-1)
        parts.append([index for index in waiting if index <= last])
        waiting = waiting[len(parts[-1]) :]
    reads = [_reads(model, part) for part in parts]
    made = [{name for index in part for name in model.operations[index].outputs if name} for part in parts]
    stages: list[_Stage] = []
    live = set(model.inputs)
    for number, group in enumerate(groups):
        later = {name for used in (*reads[number + 1 :], *groups[number + 1 :]) for name in used}
        outputs = made[number] & (later | set(group))
        live |= outputs
        inputs = sorted(reads[number] - made[number])
        stages.append(_Stage(parts[number], inputs, sorted(outputs), group, sorted(live - later)))
        live &= later
    return stages


def _reads(model: OnnxModel, part: Sequence[int]) -> set[str]:
    """The values that depend on data and that these operations need."""
    return {name for index in part for name in model.operations[index].reads if name not in model.constants}
