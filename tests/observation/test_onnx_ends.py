"""What goes into an ONNX model and what comes out, against the arrays themselves and what the rules make of them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.onnx_graphs import Array, fetch, graph, normal

import leaky
from leaky.record import Record

N = 40
W = {"w": normal(6, 8, seed=1), "b": normal(8, seed=2), "v": normal(8, 3, seed=3)}
TEXT = "net (float[N,6] x) => (float[N,3] y) {{ a = MatMul(x, w) z = Add(a, b) h = Relu(z) o = MatMul(h, v) y = {} }}"


def observed(last: str, batch_size: int = 256, **weights: Array) -> tuple[bytes, Record]:
    model = graph(TEXT.format(last), **(W | weights))
    record = leaky.observe(model, normal(N, 6), batch_size=batch_size)
    assert isinstance(record, Record)
    return model, record


@pytest.mark.parametrize("batch_size", [7, 256])
@pytest.mark.parametrize(
    ("last", "made_by", "over"),
    [
        ("Sigmoid(o)", "sigmoid", None),
        ("Softmax<axis=1>(o)", "softmax", 3),
        ("LogSoftmax(o)", "log_softmax", 3),
        ("Neg(o)", None, None),
    ],
)
def test_the_ends_are_those_of_the_arrays(batch_size: int, last: str, made_by: str | None, over: int | None) -> None:
    model, record = observed(last, batch_size)
    (out,) = record.outputs
    (y,) = fetch(model, ["y"], {"x": normal(N, 6)})
    assert (out.samples, out.entries, out.made_by, out.made_over) == (N, y.size, made_by, over)
    assert out.squares == pytest.approx(float((y.astype(np.float64) ** 2).sum()), rel=1e-6)
    assert (out.minimum, out.maximum) == (float(y.min()), float(y.max()))
    (given,) = record.inputs
    assert given.features is not None
    assert given.features.sums == pytest.approx(normal(N, 6).astype(np.float64).sum(axis=0), rel=1e-6)


def test_an_output_that_is_the_same_for_all_inputs_is_an_error_and_a_large_input_a_note() -> None:
    _, record = observed("Relu(o)", v=np.zeros((8, 3), np.float32))
    rules = {finding.rule: finding.level for finding in leaky.diagnose(record).findings}
    assert rules["same-output"] == "error"
    checkup = leaky.check(graph(TEXT.format("Neg(o)"), **W), 100 * normal(N, 6))
    assert "input-scale" in {finding.rule for finding in checkup.findings}


def test_a_batch_that_was_filled_up_counts_its_own_samples_alone() -> None:
    text = "net (float[16,6] x) => (float[16,8] y) { a = MatMul(x, w) y = Relu(a) }"
    record = leaky.observe(graph(text, w=W["w"]), normal(20, 6))
    assert isinstance(record, Record)
    assert [tensor.samples for tensor in (*record.inputs, *record.outputs)] == [20, 20]
