"""Networks of convolutions: plain ones over one to three dimensions, and residual ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks.faults.kinds import Kind
from benchmarks.faults.networks.base import Network, Place, Tape, behind

CHANNELS = 12


class CNN(Network):
    """Two convolutions and a dense layer, over one, two or three dimensions."""

    def __init__(self, kind: Kind, dimensions: int) -> None:
        super().__init__(kind)
        convolution = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
        size = {1: (2, 16), 2: (2, 7, 7), 3: (1, 5, 5, 5)}[dimensions]
        self.shapes = (size,)
        self.convs = nn.ModuleList([convolution(size[0], CHANNELS, 3), convolution(CHANNELS, CHANNELS, 2)])
        self.dense = nn.Linear(CHANNELS * (size[1] - 3) ** dimensions, CHANNELS)
        self.acts = nn.ModuleList(kind.module(CHANNELS, inplace=True) for _ in range(3))
        self.head = nn.Linear(CHANNELS, 3)
        self.places = (
            behind("convs.0", "0", CHANNELS),
            behind("convs.1", "1", CHANNELS),
            behind("dense", "2", CHANNELS, consumer="head.weight"),
        )

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate((*self.convs, self.dense)):
            x = x if i < 2 else x.flatten(1)
            x = self.tape.after(str(i), self.acts[i](self.tape.before(str(i), layer(x))))
        return self.out(x)


class Block(nn.Module):
    """Convolution, norm, activation, convolution, norm, shortcut, and the same activation module again."""

    def __init__(self, kind: Kind, tape: Tape, name: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(CHANNELS)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(CHANNELS)
        self.act = kind.module(CHANNELS, inplace=True)
        self.tape, self.name = tape, name

    def forward(self, x: Tensor) -> Tensor:
        inner, outer = f"{self.name}.inner", f"{self.name}.outer"
        y = self.tape.after(inner, self.act(self.tape.before(inner, self.bn1(self.conv1(x)))))
        y = self.bn2(self.conv2(y))
        y += x
        return self.tape.after(outer, self.act(self.tape.before(outer, y)))

    def fold(self) -> None:
        """Let the convolutions take in the norms."""
        assert isinstance(self.bn1, nn.BatchNorm2d)
        assert isinstance(self.bn2, nn.BatchNorm2d)
        self.conv1, self.bn1 = fuse_conv_bn_eval(self.conv1, self.bn1), nn.Identity()
        self.conv2, self.bn2 = fuse_conv_bn_eval(self.conv2, self.bn2), nn.Identity()


class ResNet(Network):
    """A stem and two residual blocks, their BatchNorms as they are or folded into the convolutions."""

    shapes = ((3, 4, 4),)

    def __init__(self, kind: Kind, folded: bool) -> None:
        super().__init__(kind)
        self.folded = folded
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.act = kind.module(CHANNELS)
        self.blocks = nn.ModuleList(Block(kind, self.tape, str(i)) for i in range(2))
        self.head = nn.Linear(CHANNELS, 3)
        places = [self._place(f"blocks.{i}", part) for i in range(2) for part in (1, 2)]
        self.places = (behind("stem", "stem", CHANNELS), *places)

    def _place(self, block: str, part: int) -> Place:
        name = f"{block.removeprefix('blocks.')}.{'inner' if part == 1 else 'outer'}"
        conv, norm = f"{block}.conv{part}", f"{block}.bn{part}"
        weights = (f"{conv}.weight",) if self.folded else (f"{conv}.weight", f"{norm}.weight")
        bias = f"{conv}.bias" if self.folded else f"{norm}.bias"
        scaled = (weights[-1], bias) if part == 1 else ()
        return Place(name, CHANNELS, weights, bias, scaled)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tape.after("stem", self.act(self.tape.before("stem", self.stem(x))))
        for block in self.blocks:
            x = block(x)
        return self.out(x.mean((2, 3)))

    def settle(self, inputs: tuple[Tensor, ...]) -> None:
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.3)
        self.train()
        with torch.no_grad():
            self(*inputs)
        self.eval()
        if self.folded:
            for module in self.blocks:
                assert isinstance(module, Block)
                module.fold()


class PreActivationResNet(Network):
    """Each branch starts with the activation, so the shortcut carries the pre-activation past it."""

    shapes = ((3, 4, 4),)

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(4))
        self.acts = nn.ModuleList(kind.module(CHANNELS) for _ in range(5))
        self.head = nn.Linear(CHANNELS, 3)
        first = Place("0", CHANNELS, ("stem.weight",), "stem.bias", ("stem.weight", "stem.bias"), bypass=True)
        self.places = (first, self._inner(0), self._outer(1, bypass=True), self._inner(2), self._outer(3, bypass=False))

    @staticmethod
    def _inner(conv: int) -> Place:
        return behind(f"convs.{conv}", str(conv + 1), CHANNELS)

    @staticmethod
    def _outer(conv: int, bypass: bool) -> Place:
        return Place(str(conv + 1), CHANNELS, (f"convs.{conv}.weight",), f"convs.{conv}.bias", bypass=bypass)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in range(2):
            y = self._rectified(2 * block, x)
            y = self._rectified(2 * block + 1, self.convs[2 * block](y))
            x = x + self.convs[2 * block + 1](y)
        return self.out(self._rectified(4, x).mean((2, 3)))

    def _rectified(self, i: int, z: Tensor) -> Tensor:
        return self.tape.after(str(i), self.acts[i](self.tape.before(str(i), z)))


CONVOLUTIONAL: dict[str, Callable[[Kind], Network]] = {
    "CNN 1d": lambda kind: CNN(kind, 1),
    "CNN 2d": lambda kind: CNN(kind, 2),
    "CNN 3d": lambda kind: CNN(kind, 3),
    "ResNet": lambda kind: ResNet(kind, folded=False),
    "ResNet, folded": lambda kind: ResNet(kind, folded=True),
    "pre-activation ResNet": PreActivationResNet,
}
