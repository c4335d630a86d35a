"""Which nodes of an ONNX graph are sites, under which name, and what is listed as hidden."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.onnx_graphs import Array, graph

from leaky.observation.onnx_sessions import constant_values
from leaky.record import NotExamined
from leaky.structure.onnx.activations import OnnxSite, hidden, numbers_of, sites_of
from leaky.structure.onnx.reading import load


def seen(model: bytes, scratch: Path) -> tuple[list[OnnxSite], list[NotExamined]]:
    loaded = load(model, scratch)
    numbers = numbers_of(constant_values(loaded))
    return sites_of(loaded, numbers), hidden(loaded, numbers)


def names(model: bytes, scratch: Path) -> list[tuple[str, str]]:
    return [(site.name, site.activation.name) for site in seen(model, scratch)[0]]


def net(body: str, **weights: Array | float) -> bytes:
    return graph(f"net (float[N,6] x) => (float[N,6] y) {{ {body} }}", **weights)


OPERATORS: dict[str, tuple[bytes, tuple[str, float, float, float | None, bool]]] = {
    "Relu": (net("y = Relu(x)"), ("ReLU", 0, 0, None, False)),
    "LeakyRelu": (net("y = LeakyRelu <alpha = 0.2> (x)"), ("LeakyReLU", np.float32(0.2), 0, None, False)),
    "LeakyRelu by default": (net("y = LeakyRelu(x)"), ("LeakyReLU", 0.01, 0, None, False)),
    "LeakyRelu of slope 1": (net("y = LeakyRelu <alpha = 1.0> (x)"), ("LeakyReLU", 1, 0, None, False)),
    "Clip at 0": (net("y = Clip(x, low)", low=0.0), ("ReLU", 0, 0, None, False)),
    "Clip at 0 and 6": (net("y = Clip(x, low, high)", low=0.0, high=6.0), ("ReLU6", 0, 0, 6, False)),
    "Clip with computed bounds": (
        net("a = Constant <value_float = 3.0> () low = Sub(a, a) high = Add(a, a) y = Clip(x, low, high)"),
        ("ReLU6", 0, 0, 6, False),
    ),
    "Clip of opset 6": (
        graph("net (float[N,6] x) => (float[N,6] y) { y = Clip <min = 0.0, max = 2.0> (x) }", opset=6),
        ("Hardtanh", 0, 0, 2, False),
    ),
    "ThresholdedRelu": (net("y = ThresholdedRelu <alpha = 0.5> (x)"), ("Threshold", 0, 0.5, None, False)),
    "Elu": (net("y = Elu <alpha = 0.5> (x)"), ("ELU", 0, -6.2146081, None, True)),
    "Selu": (net("y = Selu(x)"), ("SELU", 0, -7.4719886, None, True)),
    "Celu": (net("y = Celu <alpha = 2.0> (x)"), ("CELU", 0, -13.8155106, None, True)),
    "Gelu": (net("y = Gelu(x)"), ("GELU", 0, -3.8103714, None, True)),
    "Softplus": (net("y = Softplus(x)"), ("Softplus", 0, -6.9067548, None, True)),
    "Mish": (net("y = Mish(x)"), ("Mish", 0, -8.9852137, None, True)),
    "HardSwish": (net("y = HardSwish(x)"), ("Hardswish", 0, -3, None, True)),
    "Max with 0": (net("y = Max(x, zero)", zero=0.0), ("ReLU", 0, 0, None, False)),
    "Max with zeros, the other way": (
        net("y = Max(zero, x)", zero=np.zeros(6, np.float32)),
        ("ReLU", 0, 0, None, False),
    ),
    "Max with a share": (net("a = Mul(x, s) y = Max(x, a)", s=0.1), ("LeakyReLU", np.float32(0.1), 0, None, False)),
    "Where": (
        net("p = Greater(x, zero) a = Mul(x, s) y = Where(p, x, a)", zero=0.0, s=0.3),
        ("LeakyReLU", np.float32(0.3), 0, None, False),
    ),
    "Where for a threshold": (
        net("p = LessOrEqual(x, t) y = Where(p, v, x)", t=0.25, v=0.5),
        ("Threshold", 0, 0.25, None, False),
    ),
    "x times (x > 0)": (
        net("p = Greater(x, zero) m = Cast <to = 1> (p) y = Mul(x, m)", zero=0.0),
        ("ReLU", 0, 0, None, False),
    ),
    "relu(x) - α·relu(-x)": (
        net("p = Relu(x) m = Neg(x) n = Relu(m) a = Mul(n, s) y = Sub(p, a)", s=0.2),
        ("LeakyReLU", np.float32(0.2), 0, None, False),
    ),
    "min(relu(x), 6)": (net("p = Relu(x) y = Min(p, six)", six=6.0), ("ReLU6", 0, 0, 6, False)),
    "x·sigmoid(x)": (net("s = Sigmoid(x) y = Mul(s, x)"), ("SiLU", 0, -8.9850616, None, True)),
    "x·sigmoid(1.702·x)": (
        net("a = Mul(x, c) s = Sigmoid(a) y = Mul(x, s)", c=1.702),
        ("Swish", 0, -8.9850616 / 1.702, None, True),
    ),
    "GELU with Erf": (
        net(
            "a = Div(x, r) e = Erf(a) f = Add(e, one) g = Mul(x, f) y = Mul(g, half)",
            r=float(np.sqrt(2)), one=1.0, half=0.5,
        ),
        ("GELU", 0, -3.8103714, None, True),
    ),
    "GELU with Erf, halved first": (
        net(
            "h = Mul(x, half) a = Mul(x, r) e = Erf(a) f = Add(one, e) y = Mul(h, f)",
            r=float(np.sqrt(0.5)), one=1.0, half=0.5,
        ),
        ("GELU", 0, -3.8103714, None, True),
    ),
    "GELU with Tanh": (
        net(
            "k = Pow(x, three) b = Mul(k, c) d = Add(x, b) e = Mul(d, r) t = Tanh(e) f = Add(t, one) g = Mul(x, f) "
            "y = Mul(g, half)",
            three=3.0, c=0.044715, r=float(np.sqrt(2 / np.pi)), one=1.0, half=0.5,
        ),
        ("GELU", 0, -3.8103714, None, True),
    ),
    "x·tanh(softplus(x))": (net("s = Softplus(x) t = Tanh(s) y = Mul(x, t)"), ("Mish", 0, -8.9852137, None, True)),
    "hard-swish with Clip": (
        net("a = Add(x, c) b = Clip(a, low, six) d = Mul(x, b) y = Div(d, six)", c=3.0, low=0.0, six=6.0),
        ("Hardswish", 0, -3, None, True),
    ),
    "hard-swish with HardSigmoid": (
        net("h = HardSigmoid <alpha = 0.16666667, beta = 0.5> (x) y = Mul(h, x)"),
        ("Hardswish", 0, -3, None, True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_one_activation(name: str, tmp_path: Path) -> None:
    model, (activation, slope, threshold, cap, smooth) = OPERATORS[name]
    sites, listed = seen(model, tmp_path)
    assert listed == []
    assert [site.activation.name for site in sites] == [activation]
    found = sites[0].activation
    assert (found.cap, found.smooth) == (cap, smooth)
    assert found.negative_slope == pytest.approx(slope)
    assert found.threshold == pytest.approx(threshold)
    assert (sites[0].pre_activation, sites[0].output, sites[0].is_output) == ("x", "y", True)


NOTHING = {
    "logits": net("y = MatMul(x, w)", w=np.eye(6, dtype=np.float32)),
    "a gate": net("a = Add(x, c) y = Clip(a, low, six)", c=3.0, low=0.0, six=6.0),
    "a scaled gate": net("s = Div(x, six) a = Add(s, h) y = Clip(a, low, one)", six=6.0, h=0.5, low=0.0, one=1.0),
    "Clip on both sides": net("y = Clip(x, low, high)", low=-1.0, high=1.0),
    "Clip from above": net("y = Clip(x, , high)", high=6.0),
    "a floor against log(0)": net("a = Max(x, e) y = Log(a)", e=1e-12),
    "absolute value": net("n = Neg(x) y = Max(x, n)"),
    "sum of two values": net("a = MatMul(x, w) y = Add(a, x)", w=np.eye(6, dtype=np.float32)),
    "gated by another value": net("a = MatMul(x, w) s = Sigmoid(a) y = Mul(x, s)", w=np.eye(6, dtype=np.float32)),
    "of a constant": net("a = Relu(w) y = MatMul(x, a)", w=np.eye(6, dtype=np.float32)),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTHING)
def test_no_activation(name: str, tmp_path: Path) -> None:
    sites, listed = seen(NOTHING[name], tmp_path)
    assert sites == []
    assert [item.name for item in listed] == (["s"] if "gated" in name else [])


def test_two_nodes_are_two_sites_in_order(tmp_path: Path) -> None:
    model = net("[second] a = Relu(x) [first] b = LeakyRelu(a) y = Relu(b)")
    assert names(model, tmp_path) == [("second", "ReLU"), ("first", "LeakyReLU"), ("y", "ReLU")]


def test_names_that_repeat_are_told_apart(tmp_path: Path) -> None:
    assert [name for name, _ in names(net("[act] a = Relu(x) [act] y = Relu(a)"), tmp_path)] == ["act", "act#2"]


def test_a_relu_that_is_multiplied_by_one_is_one_site(tmp_path: Path) -> None:
    sites, _ = seen(net("a = Relu(x) y = Mul(a, one)", one=1.0), tmp_path)
    assert [(site.output, site.is_output) for site in sites] == [("a", True)]


def test_a_step_that_something_else_needs_stays_a_site(tmp_path: Path) -> None:
    model = graph(
        "net (float[N,6] x) => (float[N,6] y, float[N,6] z) "
        "{ s = Softplus(x) t = Tanh(s) y = Mul(x, t) z = Sigmoid(s) }"
    )
    assert [name for _, name in names(model, tmp_path)] == ["Softplus", "Mish"]


def test_output_up_to_its_shape(tmp_path: Path) -> None:
    model = graph("net (float[N,6] x) => (float[6,N] y) { a = Relu(x) b = Relu(a) c = Transpose(b) y = Identity(c) }")
    assert [site.is_output for site in seen(model, tmp_path)[0]] == [False, True]


def test_functions_of_the_model_are_looked_into(tmp_path: Path) -> None:
    function = '<domain: "local", opset_import: ["": 20]> act (a) => (b) { b = Relu(a) }'
    text = "net (float[N,6] x) => (float[N,6] y) { y = local.act(x) }"
    sites, listed = seen(graph(text, domains=', "local": 1', functions=function), tmp_path)
    assert [site.activation.name for site in sites] == ["ReLU"]
    assert listed == []


def test_what_hides_an_activation_is_listed_once_a_kind(tmp_path: Path) -> None:
    text = """
    net (float[N,6] x, bool p) => (float[N,6] y) {
        a = If (p) <then_branch = yes () => (float[N,6] b) { c = Relu(x) b = Elu(c) },
                    else_branch = no () => (float[N,6] d) { d = Identity(x) }>
        e = com.example.Act(a)
        f = com.example.Act(e)
        y = com.microsoft.FusedGemm <activation = "Relu"> (f, w)
    }
    """
    model = graph(text, domains=', "com.example": 1, "com.microsoft": 1', w=np.eye(6, dtype=np.float32))
    loaded = load(model, tmp_path)
    listed = hidden(loaded, numbers_of({}))
    assert [item.name for item in listed] == ["a", "e", "y"]
    reasons = [item.reason for item in listed]
    assert reasons[0] == "its Relu, Elu runs inside the operator If"
    assert "com.example::Act" in reasons[1]
    assert "in 1 more" in reasons[1]
    assert reasons[2] == "the fused operator com.microsoft::FusedGemm hides its Relu"


def test_a_branch_without_an_activation_is_not_listed(tmp_path: Path) -> None:
    text = """
    net (float[N,6] x, bool p) => (float[N,6] y) {
        y = If (p) <then_branch = yes () => (float[N,6] b) { b = Neg(x) },
                    else_branch = no () => (float[N,6] d) { d = Clip(x, low) }>
    }
    """
    listed = hidden(load(graph(text, low=-1.0), tmp_path), {"low": -1.0})
    assert listed == []
    listed = hidden(load(graph(text, low=0.0), tmp_path), {"low": 0.0})
    assert ["Clip" in item.reason for item in listed] == [True]


@pytest.mark.parametrize(("zero", "listed"), [(-128, True), (0, False)])
def test_a_rectifier_that_a_quantisation_took_in_is_listed(zero: int, listed: bool, tmp_path: Path) -> None:
    text = "net (float[N,6] x) => (int8[N,6] y) { a = MatMul(x, w) y = QuantizeLinear(a, s, z) }"
    weights = {"w": np.eye(6, dtype=np.float32), "z": np.array(zero, np.int8)}
    sites, items = seen(graph(text, s=0.1, **weights), tmp_path)
    assert (sites, [item.name for item in items]) == ([], ["y"] if listed else [])


@pytest.mark.parametrize(("activation", "listed"), [("Relu", True), ("Tanh", False)])
def test_an_rnn_is_listed_where_it_rectifies_inside(activation: str, listed: bool, tmp_path: Path) -> None:
    text = (
        f'net (float[T,N,6] x) => (float[T,1,N,5] y) {{ y = RNN <hidden_size = 5, activations = ["{activation}"]> '
        "(x, w, r) }"
    )
    model = graph(text, w=np.ones((1, 5, 6), np.float32), r=np.ones((1, 5, 5), np.float32))
    assert bool(hidden(load(model, tmp_path), {})) == listed


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh", "HardSigmoid"])
def test_what_levels_off_in_a_hidden_layer_is_listed_and_a_step_of_a_site_is_not(kind: str, tmp_path: Path) -> None:
    (item,) = seen(net(f"h = {kind}(x) y = Neg(h)"), tmp_path)[1]
    assert item.reason == f"where its {kind} saturates is not judged in ONNX models"
    assert seen(net(f"y = {kind}(x)"), tmp_path)[1] == []
    assert seen(net("s = Sigmoid(x) h = Mul(x, s) y = Neg(h)"), tmp_path)[1] == []


def test_constants_of_single_precision_add_up_to_a_leak(tmp_path: Path) -> None:
    model = net("p = Relu(x) q = Mul(p, b) r = Mul(x, a) y = Add(q, r)", a=0.2, b=0.8)
    (site,) = seen(model, tmp_path)[0]
    assert site.activation.name == "LeakyReLU"
    assert site.activation.negative_slope == pytest.approx(0.2, abs=1e-6)
