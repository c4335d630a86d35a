"""Pieces of well-known architectures, each a few lines, that move their axes about in the ways those do."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 8, 3, padding=1)
        self.f1 = nn.Linear(8, 4)
        self.f2 = nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c(x)
        w = torch.sigmoid(self.f2(F.relu(self.f1(x.mean((2, 3))))))
        return F.relu(x * w[:, :, None, None])


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 16, 3, padding=1)
        self.u = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.c = nn.Conv2d(16, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.a(x))
        b = F.relu(self.b(F.max_pool2d(a, 2)))
        u = F.relu(self.u(b))
        return F.relu(self.c(torch.cat([u, a[:, :, : u.shape[2], : u.shape[3]]], 1)))


class ConvNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.d = nn.Conv2d(8, 8, 7, padding=3, groups=8)
        self.n = nn.LayerNorm(8)
        self.a = nn.Linear(8, 32)
        self.b = nn.Linear(32, 8)
        self.g = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        y = self.d(x).permute(0, 2, 3, 1)
        y = F.relu(self.a(self.n(y)))
        y = (self.g * self.b(y)).permute(0, 3, 1, 2)
        return F.relu(x + y)


class Windows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e = nn.Conv2d(3, 8, 2, stride=2)
        self.q = nn.Linear(8, 24)
        self.p = nn.Linear(8, 8)
        self.m = nn.Linear(8, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.e(x).permute(0, 2, 3, 1)
        n, h, w, c = x.shape
        y = x.view(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
        q, k, v = self.q(y).chunk(3, -1)
        y = self.p(torch.softmax(q @ k.transpose(1, 2), -1) @ v)
        y = F.relu(self.m(y))
        y = y.view(n, h // 2, w // 2, 2, 2, 16).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, 16)
        return F.relu(y - 0.1)


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.t = nn.Linear(5, 7)
        self.t2 = nn.Linear(7, 5)
        self.c = nn.Linear(8, 16)

    def forward(self, x: Tensor) -> Tensor:
        y = self.t2(F.relu(self.t(x.transpose(1, 2)))).transpose(1, 2)
        return F.relu(self.c(x + y))


class Adjacency(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 8)
        self.register_buffer("A", torch.rand(9, 9))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.A @ self.a(x))


class MessagePassing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 8)
        self.b = nn.Linear(8, 8)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        h = F.relu(self.a(x))
        m = torch.zeros_like(h).index_add(0, e[1], h[e[0]])
        return F.relu(self.b(m))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.r = kind(6, 8, batch_first=True, bidirectional=True)
        self.l = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.r(x)
        return F.relu(self.l(F.relu(h)))


class TokenEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e = nn.Embedding(20, 8)
        self.p = nn.Parameter(torch.randn(4, 8))
        self.t = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
        self.h = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.h(self.t(self.e(x) + self.p)[:, 0]))


class Queries(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Parameter(torch.randn(3, 8))
        self.m = nn.MultiheadAttention(8, 2, batch_first=True)
        self.l = nn.Linear(8, 16)

    def forward(self, x: Tensor) -> Tensor:
        q = self.q[None].expand(len(x), -1, -1)
        return F.relu(self.l(self.m(q, x, x)[0]))


class ModulatedConvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(1, 8, 3, 3, 3))
        self.st = nn.Linear(4, 3)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        n, c, h, w = x.shape
        wt = (self.w * self.st(z).view(n, 1, 3, 1, 1)).view(n * 8, 3, 3, 3)
        return F.leaky_relu(F.conv2d(x.reshape(1, n * c, h, w), wt, groups=n, padding=1).view(n, 8, h, w), 0.2)


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Linear(6, 2)
        self.e = nn.ModuleList([nn.Sequential(nn.Linear(6, 8), nn.ReLU()) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        k = self.g(x).argmax(1)
        out = x.new_zeros(len(x), 8)
        for i, e in enumerate(self.e):
            out[k == i] = e(x[k == i])
        return out


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
        self.b = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.utils.checkpoint.checkpoint(self.a, x, use_reentrant=False))


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 16)
        self.b = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        u, v = self.a(x).chunk(2, -1)
        return self.b(F.relu(u) * v)


class PointNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv1d(3, 8, 1)
        self.b = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.b(F.relu(self.a(x.transpose(1, 2))).max(2).values))


class Einsum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(6, 8))
        self.v = nn.Parameter(torch.randn(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(torch.einsum("nd,dk->nk", x, self.w)) @ self.v


class ReluAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Linear(6, 8)
        self.k = nn.Linear(6, 8)

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x).view(9, 4, 2, 4).transpose(1, 2)
        k = self.k(x).view(9, 4, 2, 4).transpose(1, 2)
        return F.relu(q @ k.transpose(-1, -2))


class Autocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 8, 3)
        self.l = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return F.relu(self.l(F.relu(self.c(x)).mean((2, 3))))


class PixelShuffle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 16, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.pixel_shuffle(self.c(x), 2))


class WeightNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 8, 3))
        self.g = nn.GroupNorm(2, 8)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.g(self.c(F.pad(x, (2, 0)))), 0.1)


class ConcatenatedReLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Linear(6, 8)
        self.d = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c(x)
        return self.d(torch.cat([F.relu(x), F.relu(-x)], 1))


class Ensemble(nn.Module):
    """Three networks as one, their weights stacked."""

    def __init__(self) -> None:
        super().__init__()
        self.member = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
        self.weights = nn.ParameterList(torch.randn(3, *p.shape) for p in self.member.parameters())

    def forward(self, x: Tensor) -> Tensor:
        names = [name for name, _ in self.member.named_parameters()]

        def run(weights: list[Tensor], x: Tensor) -> Tensor:
            return torch.func.functional_call(self.member, dict(zip(names, weights, strict=True)), (x,))

        return torch.vmap(run, (0, None))(list(self.weights), x)
