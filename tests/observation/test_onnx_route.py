"""Every figure of an ONNX model's record against brute force on values that onnxruntime itself was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from tests.onnx_graphs import Array, fetch, graph, normal
from tests.records import site_from

import leaky
from leaky.observation import onnx_reader
from leaky.record import Record, Site

N = 23


@dataclass(frozen=True)
class Case:
    """A graph with one site.

    Attributes:
        model: its pre-activation is called "z".
        feeds: by input.
        seen: z as (samples, units, positions…).
        expected: what `site_from` must know of the activation.
        producers: name, kind, fan_in, fan_out and groups.
    """

    model: bytes
    feeds: dict[str, Array]
    seen: Callable[[Array], Array]
    expected: dict[str, Any] = field(default_factory=lambda: {"negative_slope": 0.0})
    producers: list[tuple[str, str, int, int, int]] = field(default_factory=list)


def last(z: Array) -> Array:
    """(samples, positions…, units) → (samples, units, positions…)."""
    return np.moveaxis(z, -1, 1)


def gelu(z: Array) -> Array:
    return torch.nn.functional.gelu(torch.from_numpy(z)).numpy()


W = {"w": normal(6, 8, seed=1), "b": normal(8, seed=2)}
K = {"k": normal(8, 3, 3, 3, seed=3), "b": normal(8, seed=2)}
IMAGE = {"x": normal(N, 3, 7, 5)}
ROWS = {"x": normal(N, 6)}
SEQUENCE = {"x": normal(N, 4, 6)}
SLOPES = np.array([-1.28, 1.01, 0.0, 0.25, -0.5, 0.1, 0.2, 0.3], np.float32)

CASES = {
    "matmul": Case(
        graph("net (float[N,6] x) => (float[N,8] y) { a = MatMul(x, w) z = Add(a, b) y = Relu(z) }", **W),
        ROWS, last, producers=[("w", "linear", 6, 8, 1)],
    ),
    "gemm": Case(
        graph("net (float[N,6] x) => (float[N,8] y) "
              "{ z = Gemm <transB = 1> (x, t, b) y = LeakyRelu <alpha = 0.5> (z) }", t=W["w"].T.copy(), b=W["b"]),
        ROWS, last, {"negative_slope": 0.5}, [("t", "linear", 6, 8, 1)],
    ),
    "gemm of a transposed input": Case(
        graph("net (float[6,N] x) => (float[N,8] y) { z = Gemm <transA = 1> (x, w, b) y = Relu(z) }", **W),
        {"x": normal(6, N)}, last, producers=[("w", "linear", 6, 8, 1)],
    ),
    "a weight on the left": Case(
        graph("net (float[N,6,4] x) => (float[N,8,4] y) { z = MatMul(t, x) y = Relu(z) }", t=W["w"].T.copy()),
        {"x": normal(N, 6, 4)}, lambda z: z, producers=[("t", "linear", 6, 8, 1)],
    ),
    "matmul over time": Case(
        graph("net (float[N,T,6] x) => (float[N,T,8] y) { a = MatMul(x, w) z = Add(a, b) y = Gelu(z) }", **W),
        SEQUENCE, last, {"negative_slope": 0.0, "threshold": -3.81037143600164, "smooth": gelu},
        [("w", "linear", 6, 8, 1)],
    ),
    "(N·T,C) reshapes": Case(
        graph("net (float[N,4,6] x) => (float[N,4,8] y) "
              "{ f = Reshape(x, flat) z = MatMul(f, w) r = Relu(z) y = Reshape(r, back) }",
              flat=np.array([-1, 6]), back=np.array([-1, 4, 8]), **W),
        SEQUENCE, lambda z: last(z.reshape(-1, 4, 8)), producers=[("w", "linear", 6, 8, 1)],
    ),
    "convolution": Case(
        graph("net (float[N,3,H,W] x) => (float[N,8,P,Q] y) { z = Conv(x, k, b) y = Clip(z, low, high) }",
              low=0.0, high=6.0, **K),
        IMAGE, lambda z: z, {"negative_slope": 0.0, "cap": 6.0, "activation": "ReLU6"},
        [("k", "convolution", 27, 72, 1)],
    ),
    "grouped convolution": Case(
        graph("net (float[N,4,H,W] x) => (float[N,8,P,Q] y) { z = Conv <group = 2> (x, k) y = Relu(z) }",
              k=normal(8, 2, 3, 3)),
        {"x": normal(N, 4, 7, 5)}, lambda z: z, producers=[("k", "convolution", 18, 36, 2)],
    ),
    "transposed convolution": Case(
        graph("net (float[N,3,H,W] x) => (float[N,4,P,Q] y) { z = ConvTranspose(x, k) y = Relu(z) }",
              k=normal(3, 4, 2, 2)),
        IMAGE, lambda z: z, producers=[("k", "transposed_convolution", 12, 16, 1)],
    ),
    "batch norm and a residual": Case(
        graph("net (float[N,3,H,W] x) => (float[N,3,H,W] y) { a = Conv <pads = [1,1,1,1]> (x, k) "
              "n = BatchNormalization(a, s, o, m, v) z = Add(n, x) y = Relu(z) }",
              k=normal(3, 3, 3, 3), s=normal(3), o=normal(3, seed=1), m=normal(3, seed=2), v=np.ones(3, np.float32)),
        IMAGE, lambda z: z, producers=[("k", "convolution", 27, 27, 1)],
    ),
    "channels last around a convolution": Case(
        graph("net (float[N,H,W,3] x) => (float[N,P,Q,8] y) { t = Transpose <perm = [0,3,1,2]> (x) c = Conv(t, k) "
              "u = Transpose <perm = [0,2,3,1]> (c) z = Add(u, b) y = Relu(z) }", **K),
        {"x": normal(N, 7, 5, 3)}, last, producers=[("k", "convolution", 27, 72, 1)],
    ),
    "prelu a channel": Case(
        graph("net (float[N,3,H,W] x) => (float[N,8,P,Q] y) { z = Conv(x, k) y = PRelu(z, s) }",
              s=SLOPES.reshape(8, 1, 1), k=K["k"]),
        IMAGE, lambda z: z, {"negative_slope": SLOPES.astype(np.float64)}, [("k", "convolution", 27, 72, 1)],
    ),
    "a slope a unit, where it is negative": Case(
        graph("net (float[N,6] x) => (float[N,8] y) { z = MatMul(x, w) c = Greater(z, o) a = Mul(s, z) "
              "y = Where(c, z, a) }", s=SLOPES, o=np.float32(0), **W),
        ROWS, last, {"negative_slope": SLOPES.astype(np.float64), "activation": "PReLU"}, [("w", "linear", 6, 8, 1)],
    ),
    "a slope a channel, as a difference of rectifiers": Case(
        graph("net (float[N,3,H,W] x) => (float[N,8,P,Q] y) { z = Conv(x, k) p = Relu(z) m = Neg(z) r = Relu(m) "
              "a = Mul(r, s) y = Sub(p, a) }", s=SLOPES.reshape(8, 1, 1), k=K["k"]),
        IMAGE, lambda z: z, {"negative_slope": SLOPES.astype(np.float64), "activation": "PReLU"},
        [("k", "convolution", 27, 72, 1)],
    ),
    "prelu of one computed slope": Case(
        graph("net (float[N,6] x) => (float[N,8] y) { z = MatMul(x, w) t = Sqrt(s) y = PRelu(z, t) }",
              s=np.array([0.25], np.float32), **W),
        ROWS, last, {"negative_slope": 0.5, "activation": "PReLU"}, [("w", "linear", 6, 8, 1)],
    ),
    "concatenation": Case(
        graph("net (float[N,3,L] x) => (float[N,9,M] y) { a = Conv(x, k) c = Conv(x, l) z = Concat <axis = 1> (a, c) "
              "y = Relu(z) }", k=normal(4, 3, 2), l=normal(5, 3, 2, seed=1)),
        {"x": normal(N, 3, 7)}, lambda z: z,
        producers=[("k", "convolution", 6, 8, 1), ("l", "convolution", 6, 10, 1)],
    ),
    "one half of the units": Case(
        graph("net (float[N,6] x) => (float[N,4] y) { a = MatMul(x, w) z, o = Split <axis = 1, num_outputs = 2> (a) "
              "r = Relu(z) y = Mul(r, o) }", **W),
        ROWS, last, producers=[("w", "linear", 6, 8, 1)],
    ),
    "one step of a sequence": Case(
        graph("net (float[N,4,6] x) => (float[N,8] y) { s = Gather <axis = 1> (x, i) z = MatMul(s, w) y = Relu(z) }",
              i=np.array(2), **W),
        SEQUENCE, last, producers=[("w", "linear", 6, 8, 1)],
    ),
    "embedding": Case(
        graph("net (int64[N,4] x) => (float[N,4,5] y) { e = Gather(w, x) z = Unsqueeze(e, i) r = Relu(z) "
              "y = Squeeze(r, i) }", w=normal(11, 5), i=np.array([1])),
        {"x": np.random.default_rng(0).integers(0, 11, (N, 4))}, lambda z: last(z[:, 0]),
        producers=[("w", "embedding", 1, 5, 1)],
    ),
    "both directions of an LSTM": Case(
        graph("net (float[N,4,6] x) => (float[4,2,N,5] y) { t = Transpose <perm = [1,0,2]> (x) "
              'z = LSTM <hidden_size = 5, direction = "bidirectional"> (t, w, r) y = Relu(z) }',
              w=normal(2, 20, 6), r=normal(2, 20, 5)),
        SEQUENCE, lambda z: z.transpose(2, 1, 3, 0).reshape(N, 10, 4),
    ),
    "einsum": Case(
        graph("net (float[N,4,6] x) => (float[N,4,2,4] y) "
              '{ z = Einsum <equation = "ntc,chd->nthd"> (x, w) y = Relu(z) }', w=W["w"].reshape(6, 2, 4)),
        SEQUENCE, lambda z: last(z.reshape(N, 4, 8)),
    ),
    "pixels from channels": Case(
        graph("net (float[N,3,H,W] x) => (float[N,2,P,Q] y) { c = Conv(x, k) "
              "z = DepthToSpace <blocksize = 2> (c) y = Relu(z) }", k=K["k"]),
        IMAGE, lambda z: z, producers=[("k", "convolution", 27, 72, 1)],
    ),
    "float64": Case(
        graph("net (double[N,6] x) => (double[N,8] y) { z = MatMul(x, w) y = Relu(z) }", w=W["w"].astype(np.float64)),
        {"x": ROWS["x"].astype(np.float64)}, last, producers=[("w", "linear", 6, 8, 1)],
    ),
    "float16": Case(
        graph("net (float[N,6] x) => (float16[N,6] y) { z = Cast <to = 10> (x) y = Relu(z) }"), ROWS, last,
    ),
    "two inputs, one shared by all samples": Case(
        graph("net (float[N,6] x, float[6] scale) => (float[N,8] y) { a = Mul(x, scale) z = MatMul(a, w) y = Relu(z) }",
              w=W["w"]),
        {**ROWS, "scale": normal(6, seed=5)}, last, producers=[("w", "linear", 6, 8, 1)],
    ),
    "not finite": Case(
        graph("net (float[N,6] x) => (float[N,6] y) { z = Log(x) y = Relu(z) }"), ROWS, last,
    ),
}  # fmt: skip


def assert_same(site: Site, oracle: Site, relative: float = 1e-6) -> None:
    mine, exact = site.statistics, oracle.statistics
    for name in ("samples", "fired", "counts", "nonfinite", "last_fired"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(exact, name), err_msg=name)
    for name in ("minimum", "maximum", "sums", "squares", "output_sums", "output_absolute_sums", "output_squares"):
        if getattr(exact, name) is not None:
            np.testing.assert_allclose(getattr(mine, name), getattr(exact, name), relative, 1e-5, err_msg=name)
    np.testing.assert_allclose(site.negative_slope, oracle.negative_slope)
    assert (site.activation == oracle.activation) or oracle.smooth
    assert site.threshold == pytest.approx(oracle.threshold)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_every_figure(name: str, batch_size: int | None) -> None:
    case = CASES[name]
    dim = 1 if name == "gemm of a transposed input" else 0
    record = leaky.observe(case.model, case.feeds, batch_size=batch_size, sample_dim=dim)
    assert (record.samples, record.batches) == (N, 1 if batch_size is None else -(-N // batch_size))
    assert record.not_examined == ()
    (site,) = record.sites
    z = fetch(case.model, ["z"], case.feeds)[0].astype(np.float64)
    assert_same(site, site_from(case.seen(z), batch_size=batch_size, **case.expected))
    assert (site.calls, site.is_output) == (1, name not in _NOT_LAST)
    described = [(p.name, p.kind, p.fan_in, p.fan_out, p.groups) for p in site.producers]
    assert not case.producers or described == case.producers


_NOT_LAST = {"one half of the units"}


MLP = graph(
    "net (float[N,6] x) => (float[N,5] y) { a = MatMul(x, w) p = Add(a, b) q = Relu(p) c = MatMul(q, v) "
    "s = Sigmoid(c) r = Mul(c, s) d = MatMul(r, u) e = Add(d, x) f = LeakyRelu(e) y = MatMul(f, t) }",
    **W, v=normal(8, 7, seed=3), u=normal(7, 6, seed=4), t=normal(6, 5, seed=5),
)  # fmt: skip
X = normal(50, 6, seed=6)


def assert_equal(one: Record, other: Record, relative: float = 1e-9) -> None:
    assert [site.name for site in one.sites] == [site.name for site in other.sites]
    assert one.samples == other.samples
    for mine, theirs in zip(one.sites, other.sites, strict=True):
        left, right = mine.statistics, theirs.statistics
        for name in ("samples", "fired", "counts", "nonfinite"):
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
        for name in ("sums", "squares", "minimum", "maximum", "output_sums"):
            if getattr(right, name) is not None:
                np.testing.assert_allclose(getattr(left, name), getattr(right, name), relative, 1e-5, err_msg=name)


@pytest.mark.parametrize("budget", [1, 200, 1000, 5000])
def test_parts_and_stages_change_nothing(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = leaky.observe(MLP, X)
    monkeypatch.setattr(onnx_reader, "BUDGET", budget)
    assert_equal(leaky.observe(MLP, X), whole)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(threads: int) -> None:
    before, first = torch.get_num_threads(), leaky.observe(MLP, X)
    try:
        torch.set_num_threads(threads)
        assert_equal(leaky.observe(MLP, X), first, relative=0)
    finally:
        torch.set_num_threads(before)


def batches(rows: int) -> Iterator[Array]:
    for start in range(0, len(X), rows):
        yield X[start : start + rows]


FORMS: dict[str, Callable[[], Any]] = {
    "tensor": lambda: torch.from_numpy(X),
    "arrays by input": lambda: {"x": X},
    "batches": lambda: list(batches(8)),
    "an iterator": lambda: batches(8),
    "pairs with a label": lambda: [(part, np.zeros(len(part))) for part in batches(8)],
    "tensors and labels in a list": lambda: [[torch.from_numpy(part), 0] for part in batches(8)],
    "tuples of inputs with a label": lambda: [((part,), 0) for part in batches(8)],
    "mappings": lambda: ({"x": part} for part in batches(8)),
    "one batch that is too large": lambda: [X],
    "read-only": lambda: np.frombuffer(X.tobytes(), np.float32).reshape(X.shape),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_data(form: str) -> None:
    data = FORMS[form]()
    assert_equal(leaky.observe(MLP, data), leaky.observe(MLP, X))


def test_record() -> None:
    seen: list[int] = []
    record = leaky.observe(MLP, X.astype(np.float64), max_samples=20, batch_size=8, progress=seen.append, seed=7)
    assert (record.data, record.on_noise, record.seed, record.mode) == ("20 samples", False, 7, "eval")
    assert (record.samples, record.batches, seen) == (20, 3, [8, 16, 20])
    assert record.notes == ("input 'x' was converted from float64 to float32, which the model takes",)
    assert {"leaky", "onnx", "onnxruntime"} <= record.versions.keys()
    assert [(s.name, s.activation, s.shape, s.unit_dim, s.sample_dim) for s in record.sites] == [
        ("q", "ReLU", (8, 8), 1, 0), ("r", "SiLU", (8, 7), 1, 0), ("f", "LeakyReLU", (8, 6), 1, 0),
    ]  # fmt: skip
    assert [p.name for site in record.sites for p in site.producers] == ["w", "v", "u"]
    assert record.sites[0].producers[0].weight_rms == pytest.approx(np.sqrt(np.mean(W["w"].astype(np.float64) ** 2)))


def test_data_and_random_numbers_are_left_alone() -> None:
    data, state, torch_state = X.copy(), str(np.random.get_state()), torch.get_rng_state()
    leaky.observe(MLP, data, seed=3)
    np.testing.assert_array_equal(data, X)
    assert str(np.random.get_state()) == state
    assert torch.equal(torch.get_rng_state(), torch_state)


def fixed(rows: int) -> bytes:
    return graph(f"net (float[{rows},6] x) => (float[{rows},8] y) {{ z = MatMul(x, w) y = Relu(z) }}", w=W["w"])


@pytest.mark.parametrize("rows", [1, 4, 64])
@pytest.mark.parametrize("whole", [True, False])
def test_a_model_of_a_fixed_batch_counts_every_sample_once(rows: int, whole: bool) -> None:
    free = graph("net (float[N,6] x) => (float[N,8] y) { z = MatMul(x, w) y = Relu(z) }", w=W["w"])
    record = leaky.observe(fixed(rows), X if whole else [X[:30], X[30:]])
    assert_equal(record, leaky.observe(free, X))
    assert record.batches == (-(-50 // rows) if whole else 2)
    assert record.notes == ()


MIXING = "{ a = MatMul(x, w) m = ReduceMean <keepdims = 1> (a, i) z = Sub(a, m) y = Relu(z) }"


def test_samples_that_influence_one_another_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_reader, "BUDGET", 64)
    model = graph(f"net (float[N,6] x) => (float[N,8] y) {MIXING}", w=W["w"], i=np.array([0]))
    record = leaky.observe(model, X, batch_size=25)
    parts = [fetch(model, ["z"], {"x": X[i : i + 25]})[0] for i in (0, 25)]
    assert_same(record.sites[0], site_from(np.concatenate(parts), 0.0, batch_size=25))
    assert record.notes == ("the samples of a batch influence one another in this model",)


def test_samples_that_influence_one_another_in_a_fixed_batch_are_said_to() -> None:
    model = graph(f"net (float[4,6] x) => (float[4,8] y) {MIXING}", w=W["w"], i=np.array([0]))
    (note,) = leaky.observe(model, X).notes
    assert "influence one another" in note
    assert "takes 4 at a time" in note


TIME_FIRST = graph(
    "net (float[T,N,6] x) => (float[T,1,N,8] y) { z = RNN <hidden_size = 8> (x, w, r) y = Relu(z) }",
    w=normal(1, 8, 6), r=normal(1, 8, 8, seed=1),
)  # fmt: skip


@pytest.mark.parametrize("data", [normal(4, 9, 6), [normal(4, 9, 6)]], ids=["array", "batches"])
def test_a_recurrent_layer_says_where_the_samples_are(data: Any) -> None:
    record = leaky.observe(TIME_FIRST, data)
    assert (record.samples, record.sites[0].samples) == (9, 9)
    assert any("axis 1 of the input, because RNN runs over" in note for note in record.notes)
    assert (leaky.observe(TIME_FIRST, data, sample_dim=0).samples, record.notes) == (4, record.notes)


def test_sequences_of_many_lengths() -> None:
    lengths = [normal(t, 3, 6, seed=t) for t in (2, 5, 3)]
    record = leaky.observe(TIME_FIRST, lengths, sample_dim=1)
    z = [fetch(TIME_FIRST, ["z"], {"x": x})[0][:, 0] for x in lengths]
    assert (record.samples, record.batches, record.sites[0].samples) == (9, 3, 9)
    np.testing.assert_array_equal(
        record.sites[0].statistics.fired, sum((part > 0).any(axis=0).sum(axis=0) for part in z)
    )


def test_each_batch_is_one_sample_where_there_is_no_sample_axis() -> None:
    model = graph("net (float[6] x) => (float[8] y) { z = MatMul(x, w) y = Relu(z) }", w=W["w"])
    record = leaky.observe(model, list(X), sample_dim=None)
    assert (record.samples, record.batches) == (50, 50)
    assert_same(record.sites[0], site_from(X @ W["w"], 0.0, batch_size=1))


def test_an_axis_that_cannot_be_told_is_listed_and_unit_dim_names_it() -> None:
    model = graph("net (float[N,4,6] x) => (float[N,4,6] y) { [act] y = Relu(x) }")
    data = normal(9, 4, 6)
    record = leaky.observe(model, data)
    assert record.sites == ()
    assert [(item.name, "unit axis" in item.reason) for item in record.not_examined] == [("act", True)]
    assert_same(leaky.observe(model, data, unit_dim=-1).sites[0], site_from(last(data), 0.0))


def test_slopes_that_are_not_one_a_unit_are_listed() -> None:
    body = "net (float[N,3,7,5] x) => (float[N,8,5,3] y) { z = Conv(x, k) y = PRelu(z, s) }"
    record = leaky.observe(graph(body, k=K["k"], s=normal(8, 5, 3)), IMAGE["x"])
    assert record.sites == ()
    assert ["slope for every entry" in item.reason for item in record.not_examined] == [True]
    body = "net (float[N,6] x) => (float[N,8] y) { z = MatMul(x, w) s = Abs(z) y = PRelu(z, s) }"
    record = leaky.observe(graph(body, w=W["w"]), X)
    assert ["computed from the data" in item.reason for item in record.not_examined] == [True]


def test_a_model_without_a_site_has_an_empty_record() -> None:
    record = leaky.observe(graph("net (float[N,6] x) => (float[N,8] y) { y = MatMul(x, w) }", w=W["w"]), X)
    assert (record.sites, record.not_examined, record.samples) == ((), (), 50)


def test_what_comes_out_of_a_sequence_is_still_data() -> None:
    body = (
        "s = SequenceConstruct(x, x) i = Constant <value_int = 1> () a = SequenceAt(s, i) z = MatMul(a, w) y = Relu(z)"
    )
    record = leaky.observe(graph(f"net (float[N,6] x) => (float[N,8] y) {{ {body} }}", w=W["w"]), [X[:20], X[20:]])
    (site,) = record.sites
    assert (site.units, site.samples, record.samples) == (8, 2, 50)  # no sample axis: each batch counts as one
    np.testing.assert_array_equal(site.statistics.counts[:3].sum(axis=0), [50] * 8)


def test_shapes_are_no_data() -> None:
    body = "s = Shape(x) t = Cast <to = 1> (s) u = Relu(t) v = ReduceSum(u) z = MatMul(x, w) a = Add(z, v) y = Relu(a)"
    record = leaky.observe(graph(f"net (float[N,6] x) => (float[N,8] y) {{ {body} }}", w=W["w"]), X)
    assert [(site.name, site.samples) for site in record.sites] == [("y", 50)]
    assert record.not_examined == ()


def test_layers_that_were_quantised_on_the_fly() -> None:
    body = "q, s, p = DynamicQuantizeLinear(x) c = ConvInteger(q, k, p) f = Cast <to = 1> (c) z = Mul(f, s) y = Relu(z)"
    kernel = np.random.default_rng(0).integers(-100, 100, (8, 3, 3, 3)).astype(np.int8)
    record = leaky.observe(graph(f"net (float[N,3,H,W] x) => (float[N,8,P,Q] y) {{ {body} }}", k=kernel), IMAGE["x"])
    assert [(site.units, site.samples, site.producers) for site in record.sites] == [(8, N, ())]
    assert any("influence one another" in note for note in record.notes)  # the scale is the whole batch's
