"""Layers that standardise their input first, with the mean and the scale as buffers.

Annotations are objects here, not text, so that TorchScript can read them.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class StandardisedLinear(nn.Linear):
    """`nn.Linear` of (x − input_mean)·input_scale, feature by feature."""

    input_mean: Tensor
    input_scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Of shape (…, in_features), as `nn.Linear`."""
        return functional.linear((x - self.input_mean) * self.input_scale, self.weight, self.bias)


class StandardisedConv1d(nn.Conv1d):
    """`nn.Conv1d` of (x − input_mean)·input_scale, channel by channel."""

    input_mean: Tensor
    input_scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Of shape (N, channels, length), as `nn.Conv1d`."""
        return self._conv_forward((x - self.input_mean) * self.input_scale, self.weight, self.bias)  # type: ignore[no-any-return]


class StandardisedConv2d(nn.Conv2d):
    """`nn.Conv2d` of (x − input_mean)·input_scale, channel by channel."""

    input_mean: Tensor
    input_scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Of shape (N, channels, height, width), as `nn.Conv2d`."""
        return self._conv_forward((x - self.input_mean) * self.input_scale, self.weight, self.bias)  # type: ignore[no-any-return]


class StandardisedConv3d(nn.Conv3d):
    """`nn.Conv3d` of (x − input_mean)·input_scale, channel by channel."""

    input_mean: Tensor
    input_scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Of shape (N, channels, depth, height, width), as `nn.Conv3d`."""
        return self._conv_forward((x - self.input_mean) * self.input_scale, self.weight, self.bias)  # type: ignore[no-any-return]


Standardised = StandardisedLinear | StandardisedConv1d | StandardisedConv2d | StandardisedConv3d

KINDS: dict[type[nn.Module], type[Standardised]] = {
    nn.Linear: StandardisedLinear,
    nn.Conv1d: StandardisedConv1d,
    nn.Conv2d: StandardisedConv2d,
    nn.Conv3d: StandardisedConv3d,
}
"""The standardising kind of each layer."""


def standardised_of(old: nn.Module) -> Standardised:
    """The standardising kind of a layer, with mean 0 and scale 1; its parameters stay the same objects.

    Args:
        old: a layer of a class in `KINDS`.
    """
    kind = KINDS[type(old)]
    new = kind.__new__(kind)
    new.__dict__.update({key: dict(value) if type(value) is dict else value for key, value in old.__dict__.items()})
    weight = new.weight
    features = new.in_features if isinstance(new, nn.Linear) else new.in_channels
    shape = (features, *(1,) * (weight.ndim - 2))
    with torch.no_grad():
        new.register_buffer("input_mean", weight.new_zeros(shape))
        new.register_buffer("input_scale", weight.new_ones(shape))
    return new


def is_standardised(module: nn.Module) -> bool:
    """Whether a layer standardises its inputs."""
    return isinstance(module, tuple(KINDS.values()))
