"""Nothing vanishes: where the origin of a value is lost, what rectifies behind it is a site still, or is listed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import leaky

N = 60


def by_slices(h: Tensor) -> Tensor:
    out = torch.zeros(h.shape)
    for i in range(0, len(h), 20):
        out[i : i + 20] = h[i : i + 20]
    return out


def by_columns(h: Tensor) -> Tensor:
    out = torch.full(h.shape, 0.0)
    for i in range(h.shape[1]):
        out[:, i].copy_(h[:, i])
    return out


def by_rows(h: Tensor) -> Tensor:
    out = torch.zeros(h.shape)
    for i, row in enumerate(h):
        out[i] = row
    return out


def through_a_view_taken_before(h: Tensor) -> Tensor:
    out = torch.zeros(len(h), 2 * h.shape[1])
    left, right = out[:, : h.shape[1]], out.t()
    left.copy_(h)
    return right.t()[:, : h.shape[1]]


def as_items(h: Tensor) -> Tensor:
    return torch.stack([torch.full((h.shape[1],), 1.0) * float(v) for v in h.sum(1)])


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "slices written into a buffer": by_slices,
    "columns copied into a buffer": by_columns,
    "rows written into a buffer": by_rows,
    "a view taken before the write": through_a_view_taken_before,
    "numpy": lambda h: torch.from_numpy(np.array(h.detach().numpy())),
    "numpy without a copy": lambda h: torch.from_numpy(h.detach().numpy()),
    "a list": lambda h: torch.tensor(h.tolist()),
    "numbers": as_items,
    ".data": lambda h: h.data,
    "detach": lambda h: h.detach(),
    "float64 and back": lambda h: torch.tensor(h.detach().numpy().astype(np.float64)).float(),
}


class Through(nn.Module):
    def __init__(self, way: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 2)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.second(self.way(torch.relu(self.first(x))))))


@pytest.mark.parametrize("way", WAYS)
def test_behind_a_lost_origin_units_and_samples_are_counted(way: str) -> None:
    torch.manual_seed(0)
    model, data = Through(WAYS[way]), torch.randn(N, 6)
    with torch.no_grad():
        model.second.bias[2] = -50.0
        fired = (model.second(model.way(torch.relu(model.first(data)))) > 0).sum(0)
    record = leaky.observe(model, data)
    assert [(site.units, site.samples) for site in record.sites] == [(5, N), (4, N)]
    assert record.sites[1].statistics.fired.tolist() == fired.tolist()
    assert record.sites[1].producers[0].name == "second.weight"
    outside = way in ("numpy", "a list", "float64 and back")  # where a rectifier may have been
    assert ["comes from outside torch" in item.reason for item in record.not_examined] == [True] * outside


RECTIFIED: dict[str, Callable[[Tensor], Tensor]] = {
    "maximum": lambda h: torch.from_numpy(np.maximum(h.detach().numpy(), 0)),
    "where": lambda h: torch.as_tensor(np.where(h.detach().numpy() > 0, h.detach().numpy(), 0)),
    "clip": lambda h: torch.tensor(h.detach().numpy().clip(0)),
    "a list": lambda h: torch.tensor([[max(v, 0.0) for v in row] for row in h.tolist()]),
}


@pytest.mark.parametrize("way", RECTIFIED)
def test_what_is_rectified_outside_torch_is_listed(way: str) -> None:
    class Outside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(RECTIFIED[way](self.first(x)))  # type: ignore[no-any-return]

    record = leaky.observe(Outside(), torch.randn(N, 6))
    assert [(item.name, "a rectifier too" in item.reason) for item in record.not_examined] == [("last", True)]


def by_numpy_into_a_buffer(h: Tensor) -> Tensor:
    out = torch.zeros(h.shape, dtype=h.dtype)
    out.numpy()[...] = h.detach().numpy()
    return out


def by_numbers_into_a_buffer(h: Tensor) -> Tensor:
    out = torch.zeros(h.shape, dtype=h.dtype).reshape(-1)
    for i, value in enumerate(h.detach().reshape(-1).tolist()):
        out[i] = value
    return out.reshape(h.shape)


def by_rows_of_any_shape(h: Tensor) -> Tensor:
    out = torch.zeros(h.shape, dtype=h.dtype)
    for i in range(len(h)):
        out[i] = h.detach()[i]
    return out


LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "numpy": lambda h: torch.from_numpy(np.array(h.detach().numpy())),
    "a list": lambda h: torch.tensor(h.tolist(), dtype=h.dtype),
    "detach": lambda h: h.detach(),
    ".data": lambda h: h.data,
    "a copy into a buffer": lambda h: torch.empty(h.shape, dtype=h.dtype).copy_(h.detach()),
    "rows into a buffer": by_rows_of_any_shape,
    "numpy into a buffer": by_numpy_into_a_buffer,
    "numbers into a buffer": by_numbers_into_a_buffer,
}


class Cuts(TorchFunctionMode):
    """Sends the result of call number `at` of any function through a way that loses where it came from."""

    def __init__(self, at: int, way: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.at, self.way, self.calls = at, way, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        whole = isinstance(result, Tensor) and result.is_floating_point() and result.ndim > 0
        if whole and not name.startswith("__"):
            self.calls += 1
            if self.calls == self.at:
                return self.way(result)
        return result


class Cut(nn.Module):
    """A model that loses the origin of one value."""

    def __init__(self, inner: nn.Module, at: int, way: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.mode = inner, Cuts(at, way)

    def forward(self, x: Tensor) -> Tensor:
        self.mode.calls = 0
        with self.mode:
            return self.inner(x)  # type: ignore[no-any-return]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.a(x))
        # Another name than the first: calls of one name from one line (the mode's) behind one weight are one site.
        h = F.leaky_relu(h + self.norm(self.b(h)), 0.1)
        return F.relu(self.c(h.mean((2, 3))))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.up, self.down = (nn.Linear(6, 6) for _ in range(5))
        self.norm = nn.LayerNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.softmax(self.q(x) @ self.k(x).transpose(1, 2), -1)
        x = self.norm(x + scores @ self.v(x))
        return self.down(F.relu(self.up(x))).mean(1)


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.i, self.h, self.o = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), 5)
        for t in range(x.shape[1]):
            h = F.relu(self.i(x[:, t]) + self.h(h))
        return F.relu(self.o(h))


class Functional(nn.Module):
    """Parameters without layers, a leak and a tanh spelled out."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.randn(*shape)) for shape in ((8, 6), (8, 7), (5, 7)))
        self.bias = nn.Parameter(torch.randn(7))

    def forward(self, x: Tensor) -> Tensor:
        h = F.linear(x, self.a)
        h = torch.where(h > 0, h, 0.1 * h)
        h = torch.tanh(torch.addmm(self.bias, h, self.b))
        return F.leaky_relu(torch.einsum("nd,hd->nh", h, self.c))


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.head(self.cell(x)[0][:, -1]))


class Messages(nn.Module):
    """Rows that send messages to each other, are added up, and normed by how many came."""

    def __init__(self) -> None:
        super().__init__()
        self.send, self.keep = nn.Linear(12, 7), nn.Linear(7, 5)
        source = torch.randint(9, (30,), generator=torch.Generator().manual_seed(0))
        self.register_buffer("source", source)

    def forward(self, x: Tensor) -> Tensor:
        target = torch.arange(30) % 9
        sent = F.relu(self.send(torch.cat([x[self.source], x[target]], 1)))
        added = torch.zeros(9, 7).index_add_(0, target, sent)
        return F.leaky_relu(self.keep(added / 4), 0.2)


class Upwards(nn.Module):
    """Down, up again, and beside what was there before: a small U."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(2, 4, 2, stride=2), nn.ConvTranspose2d(4, 3, 2, stride=2)
        self.last = nn.Conv2d(5, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        low = F.group_norm(F.relu(self.down(x)), 2)
        high = F.interpolate(F.leaky_relu(self.up(low), 0.1), size=x.shape[2:])
        return F.relu6(self.last(torch.cat([high, x], 1)))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[int]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU()), (6,), [4, 8]),
    "residual": (Residual, (2, 5, 5), [3, 4, 4]),
    "attention": (Attention, (3, 6), [6]),
    "recurrent": (Cell, (3, 6), [2, 5]),
    "functional": (Functional, (6,), [5, 7, 8]),
    "gated": (Gated, (3, 6), [4]),
    "messages": (Messages, (6,), [5, 7]),
    "upwards": (Upwards, (2, 4, 4), [3, 4, 6]),
    "encoder": (lambda: nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), (3, 6), [8]),
}


@pytest.mark.parametrize("way", LOSSES)
@pytest.mark.parametrize("name", MODELS)
def test_wherever_the_origin_is_lost_every_rectifier_is_a_site_or_listed(name: str, way: str) -> None:
    torch.manual_seed(0)
    build, shape, units = MODELS[name]
    model, data = build().eval(), torch.randn(9, *shape)
    whole = Cut(model, 0, LOSSES[way])
    with torch.no_grad():
        whole(data)
    expected = len(units) + (name == "gated")  # whose gates are listed
    for at in range(1, whole.mode.calls + 1):
        record = leaky.observe(Cut(model, at, LOSSES[way]), data)
        found = sorted(site.units for site in record.sites)
        assert len(found) + len(record.not_examined) >= expected, f"{found} where the origin is lost at call {at}"
        assert all(site.samples <= 9 for site in record.sites)
        if not record.not_examined:
            assert set(found) == set(units), f"the origin is lost at call {at}"


def test_what_runs_in_another_thread_is_listed_and_what_follows_is_a_site() -> None:
    from concurrent.futures import ThreadPoolExecutor

    class Threads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
            self.head = nn.Sequential(nn.Linear(5, 4), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            with ThreadPoolExecutor(1) as pool:
                return self.head(pool.submit(self.branch, x).result())  # type: ignore[no-any-return]

    record = leaky.observe(Threads(), torch.randn(N, 6))
    assert [(site.name, site.units, site.samples) for site in record.sites] == [("head.1", 4, N)]
    assert any(item.name == "branch" and "thread" in item.reason for item in record.not_examined)


def test_what_is_computed_of_weights_alone_is_no_site() -> None:
    class Positive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 6))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, F.softplus(self.weight) * torch.ones(6))

    record = leaky.observe(Positive(), torch.randn(N, 6))
    assert (record.sites, record.not_examined) == ((), ())


class Quantised(nn.Module):
    """A layer, maybe a rectifier, and torch's fake quantisation with a range that begins at `low`."""

    def __init__(self, rectified: bool, low: int) -> None:
        super().__init__()
        self.into, self.out, self.rectified = nn.Linear(6, 5), nn.Linear(5, 2), rectified
        self.fake = torch.ao.quantization.FakeQuantize(quant_min=low, quant_max=low + 255, dtype=torch.qint32)

    def forward(self, x: Tensor) -> Tensor:
        h = self.into(x)
        return self.out(self.fake(torch.relu(h) if self.rectified else h))  # type: ignore[no-any-return]


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("low", [-128, 0])
def test_fake_quantisation_of_data_is_listed_and_its_own_arithmetic_is_not(rectified: bool, low: int) -> None:
    record = leaky.observe(Quantised(rectified, low).train(), torch.randn(20, 6), mode="train")
    assert [site.units for site in record.sites] == [5] * rectified
    assert [item.name for item in record.not_examined] == ["fake"]
