"""The rules that others use, each in a few lines on what a place puts out; in the most favourable reading.

They look at outputs h, seen as (samples, units, positions), in the precision in which the network runs. Those that
report a share of a layer are asked for the same share of each unit, and a unit counts as called dead where all of its
outputs fall into the rule's bin. The one that takes pixels for neurons is scored on pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Judge = Callable[[Tensor], Tensor]


def _near_zero_share(h: Tensor) -> Tensor:
    return (h <= 0.05).double().mean(dim=(0, 2))


def _first_bin_share(h: Tensor) -> Tensor:
    bins = torch.stack([h[:, unit].abs().float().histc(40, 0, 10) for unit in range(h.shape[1])])
    return bins[:, 0] / bins.sum(dim=1)  # NaN where every output is beyond 10: the chart has a hole there


def _zero_sum(h: Tensor) -> Tensor:
    return h.sum(dim=(0, 2)) == 0


def _rarely_nonzero(h: Tensor) -> Tensor:
    return (h != 0).double().mean(dim=(0, 2)) < 0.01


def _small_percentile(h: Tensor) -> Tensor:
    outputs = h.abs().transpose(0, 1).flatten(1)
    rank = max(1, round(0.95 * outputs.shape[1]))
    return outputs.kthvalue(rank, dim=1).values < 1e-5


def _dormant(h: Tensor) -> Tensor:
    size = h.abs().mean(dim=(0, 2))
    return size / (size.mean() + 1e-9) <= 0.025


def _zero_pixels(h: Tensor) -> Tensor:
    return (h == 0).all(dim=0)


@dataclass(frozen=True)
class Rival:
    """A rule of someone else's.

    Attributes:
        name: short.
        rule: in full, and who uses it.
        calls_dead: h in; a mask of shape (units,) out, or (units, positions) where pixels are taken for neurons.
        layer_share: h in; the share of the layer that the rule would report, where it reports one.
    """

    name: str
    rule: str
    calls_dead: Judge
    layer_share: Callable[[Tensor], float] | None = None


def _whole_bin(h: Tensor) -> Tensor:
    bins = h.abs().float().histc(40, 0, 10)
    return bins[0] / bins.sum()


RIVALS = (
    Rival(
        "near zero",
        "share of h ≤ .05 (fastai ActivationStats)",
        lambda h: _near_zero_share(h) == 1,
        lambda h: float((h <= 0.05).double().mean()),
    ),
    Rival(
        "dead chart",
        "share of bin 0 of |h|.histc(40, 0, 10) (fastai course)",
        lambda h: _first_bin_share(h) == 1,
        lambda h: float(_whole_bin(h)),
    ),
    Rival("zero sum", "Σh = 0 (keras-contrib DeadReluDetector)", _zero_sum),
    Rival("rarely ≠ 0", "P(h ≠ 0) < .01 (continual backprop)", _rarely_nonzero),
    Rival("p95", "95th percentile of |h| < 1e-5", _small_percentile),
    Rival("ReDo", "E|h| ≤ .025 of the layer's mean (ReDo's dormant score)", _dormant),
    Rival(
        "zero pixels",
        "h = 0 on all samples, each pixel or time step a neuron (counters of zeros)",
        _zero_pixels,
        lambda h: float((h == 0).double().mean()),
    ),
)
