"""The backend cases that ONNX ships for its LeakyRelu, PRelu and Relu, run against ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.helper
import pytest
import torch
from numpy.typing import NDArray
from onnx.backend.test.case import node as collected
from onnx.backend.test.case.node import leakyrelu, prelu, relu
from tests.activation.comparison import as_torch

from leaky import leaky_relu

OPERATORS = {leakyrelu.LeakyRelu: "LeakyRelu", prelu.PRelu: "PRelu", relu.Relu: "Relu"}


def _backend_cases() -> list[Any]:
    """Importing an operator's module collects its cases; those that spell it out in other operators are left out."""
    graphs = [(case, case.model.graph.node) for case in collected._NodeTestCases]
    return [case for case, nodes in graphs if len(nodes) == 1 and nodes[0].op_type in OPERATORS.values()]


CASES = {case.name: case for case in _backend_cases()}


def test_all_of_onnxs_cases_are_there() -> None:
    assert set(CASES) == {
        "test_leakyrelu_example",
        "test_leakyrelu",
        "test_leakyrelu_default",
        "test_prelu_example",
        "test_prelu_broadcast",
        "test_relu",
    }


def _run(case: Any, inputs: list[Any]) -> Any:
    (node,) = case.model.graph.node
    if node.op_type == "PRelu":
        x, slope = inputs
        if slope.shape == x.shape:  # one slope an element: every element is a channel
            return leaky_relu(x.reshape(-1), slope.reshape(-1), channel_dim=0).reshape(x.shape)
        return leaky_relu(x, slope, channel_dim=-1)
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return leaky_relu(inputs[0], 0.0 if node.op_type == "Relu" else attributes.get("alpha", 0.01))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_onnxs_backend_case(case: Any) -> None:
    ((inputs, (expected,)),) = case.data_sets
    _close(_run(case, list(inputs)), expected, case)
    _close(_run(case, [as_torch(np.array(one)) for one in inputs]).numpy(), expected, case)


def _close(got: NDArray[Any] | torch.Tensor, expected: NDArray[Any], case: Any) -> None:
    assert np.asarray(got).dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=case.rtol, atol=case.atol)
