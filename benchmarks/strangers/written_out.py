"""Networks of the kinds above written out here, so that the comparison is tested where no package is installed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.strangers.stranger import Made, Stranger, numbers, on, seeded, tokens


class Block(nn.Module):
    """A bottleneck with a shortcut, a gate and one module that rectifies in three places."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 3, padding=1)
        self.norm, self.relu = nn.BatchNorm2d(inner), nn.ReLU(inplace=True)
        self.squeeze, self.excite = nn.Linear(channels, 3), nn.Linear(3, channels)

    def forward(self, x: Tensor) -> Tensor:
        h = self.up(self.relu(self.norm(self.down(x))))
        gate = torch.sigmoid(self.excite(self.relu(self.squeeze(h.mean((2, 3))))))
        return self.relu(x + h * gate[:, :, None, None])  # type: ignore[no-any-return]


class Residual(nn.Module):
    """Blocks behind a stem."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(3, 8, 3, stride=2), nn.Sequential(Block(8, 4), Block(8, 4))
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(functional.relu6(self.stem(images))).amax((2, 3)))  # type: ignore[no-any-return]


class Attentive(nn.Module):
    """A transformer's layer over tokens, heads folded and unfolded by hand, a squared ReLU in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv, self.out = nn.Embedding(90, 16), nn.Linear(16, 48), nn.Linear(16, 16)
        self.up, self.down, self.norm = nn.Linear(16, 40), nn.Linear(40, 16), nn.LayerNorm(16)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embed(input_ids)
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, 4, 4)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(functional.relu(self.up(x)).square())  # type: ignore[no-any-return]


class Passing(nn.Module):
    """A graph's layer: features gathered along edges, transformed, and added up at the nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.update = nn.Linear(12, 10), nn.Linear(16, 7)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        source, target = edge_index
        sent = functional.leaky_relu(self.message(torch.cat([x[source], x[target]], dim=-1)), 0.1)
        gathered = torch.zeros(len(x), 10).index_add(0, target, sent)
        return torch.relu(self.update(torch.cat([x, gathered], dim=-1)))


class Sounding(nn.Module):
    """A U of one-dimensional convolutions with learned slopes and a clamp."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.slopes = nn.Conv1d(2, 6, 4, stride=2, padding=1), nn.PReLU(6)
        self.up, self.out = nn.ConvTranspose1d(6, 5, 4, stride=2, padding=1), nn.Conv1d(7, 1, 1)

    def forward(self, sound: Tensor) -> Tensor:
        h = self.up(self.slopes(self.down(sound))).clamp(min=0)
        return self.out(torch.cat([h, sound], dim=1))  # type: ignore[no-any-return]


def _graph(seed: int) -> dict[str, Tensor]:
    edges = torch.randint(0, 30, (2, 90), generator=torch.Generator().manual_seed(seed))
    return {"x": numbers(30, 6, seed=seed), "edge_index": edges}


def _made(kind: type[nn.Module]) -> Made:
    make = {
        Residual: lambda seed: {"images": numbers(6, 3, 20, 20, seed=seed)},
        Attentive: lambda seed: {"input_ids": tokens(6, 9, seed=seed)},
        Passing: _graph,
        Sounding: lambda seed: (numbers(6, 2, 16, seed=seed),),
    }
    return on(seeded(kind), make[kind])  # type: ignore[index]


def strangers() -> list[Stranger]:
    """All of them."""
    return [
        Stranger("written out/residual", "torch", lambda: _made(Residual), 1),
        Stranger("written out/attentive", "torch", lambda: _made(Attentive), -1),
        Stranger("written out/passing", "torch", lambda: _made(Passing), -1),
        Stranger("written out/sounding", "torch", lambda: _made(Sounding), 1),
    ]
