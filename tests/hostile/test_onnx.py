"""ONNX files that would grow without bound are refused; ordinary functions are examined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import leaky
from leaky.errors import InputError

onnx = pytest.importorskip("onnx")


def nested(depth: int, calls_itself: bool = False) -> bytes:
    """A rectifier inside functions, each of which calls the one below twice."""
    make, opset = onnx.helper, onnx.helper.make_opsetid
    imports = [opset("", 17), opset("local", 1)]
    inner = make.make_node(f"f{depth}", ["x"], ["y"], domain="local") if calls_itself else None
    innermost = [inner or make.make_node("Relu", ["x"], ["y"])]
    functions: list[Any] = [make.make_function("local", "f0", ["x"], ["y"], innermost, imports)]
    for level in range(1, depth + 1):
        calls = [make.make_node(f"f{level - 1}", [source], [target], domain="local") for source, target in ("xa", "ay")]
        functions.append(make.make_function("local", f"f{level}", ["x"], ["y"], calls, imports))
    sides = [make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, 4]) for name in "xy"]
    graph = make.make_graph([make.make_node(f"f{depth}", ["x"], ["y"], domain="local")], "g", sides[:1], sides[1:])
    return bytes(make.make_model(graph, functions=functions, opset_imports=imports, ir_version=9).SerializeToString())


def test_functions_nested_thirtyfold_are_refused_at_once() -> None:
    with pytest.raises(InputError, match=r"at most 1,000,000 operations .* and has 1,073,741,824"):
        leaky.observe(nested(30), np.ones((3, 4), np.float32))
    with pytest.raises(InputError, match="at most 1,000,000 operations"):
        leaky.observe(nested(300), np.ones((3, 4), np.float32))


def test_a_function_that_calls_itself_is_refused() -> None:
    with pytest.raises(InputError, match="calls itself"):
        leaky.observe(nested(2, calls_itself=True), np.ones((3, 4), np.float32))


def test_functions_of_some_depth_are_examined() -> None:
    assert leaky.observe(nested(2), np.ones((300, 4), np.float32)).sites
