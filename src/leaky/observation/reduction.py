"""Reduces the pre-activations, outputs or gradients of one call of a site to sums over samples and positions.

Pure and streaming: blocks of at most half a million elements are widened to float64 one after another, so that the
memory does not grow with the batch, and the figures agree for any batch size and number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from leaky.record import BELOW, BEYOND_HIGH, BEYOND_LOW, LINEAR, FloatArray, GradientStatistics, UnitStatistics
from leaky.structure.activations import Activation
from leaky.structure.axes import Layout

_BLOCK = 1 << 19


def as_units(value: Tensor, view: Layout) -> Tensor:
    """The tensor seen as (samples, units, positions)."""
    split = value.detach().reshape(view.shape).permute(view.order)
    return split.reshape(view.samples, view.units, view.positions)


def _blocks(value: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Slices of samples, each with its part as float64; long samples are cut along their positions too."""
    samples, units, positions = value.shape
    rows = max(1, _BLOCK // max(1, units * positions))
    width = max(1, _BLOCK // max(1, units))
    for start in range(0, samples, rows):
        part = slice(start, min(start + rows, samples))
        for left in range(0, positions, width):
            yield part, value[part, :, left : left + width].double()


def pre_activation_statistics(
    pre_activation: Tensor, view: Layout, activation: Activation
) -> tuple[UnitStatistics, Tensor]:
    """The sums of the pre-activations, and which unit fired on which sample.

    Args:
        pre_activation: z, of any shape that `view` fits.
        view: how to see it as (samples, units, positions).
        activation: whose threshold and bounds part the regions.

    Returns:
        The statistics with no sample counted yet, and a bool tensor of shape (samples, units). They are counted apart
        because several calls of a site see the same samples.
    """
    z = as_units(pre_activation, view)
    fired = torch.zeros(view.samples, view.units, dtype=torch.bool)
    total = UnitStatistics.empty(view.units)
    for part, block in _blocks(z):
        statistics, block_fired = _block_statistics(block.cpu(), activation)
        total = total.merge(statistics)
        fired[part] |= block_fired
    return total, fired


def _block_statistics(z: Tensor, activation: Activation) -> tuple[UnitStatistics, Tensor]:
    finite = torch.isfinite(z)
    whole = bool(finite.all())
    low, high = z, z
    if not whole:
        low, high = z.masked_fill(~finite, np.inf), z.masked_fill(~finite, -np.inf)
        z = z.masked_fill(~finite, 0.0)
    minimum, maximum = low.amin(dim=(0, 2)), high.amax(dim=(0, 2))
    regions = region_masks(z, activation)
    if not whole:
        regions = {region: mask & finite for region, mask in regions.items()}
    units = z.shape[1]
    counts, sums, squares = np.zeros((4, units), np.int64), np.zeros((4, units)), np.zeros((4, units))
    for region, mask in regions.items():
        part = torch.where(mask, z, 0.0)
        counts[region] = mask.sum(dim=(0, 2)).numpy()
        sums[region] = part.sum(dim=(0, 2)).numpy()
        squares[region] = part.square_().sum(dim=(0, 2)).numpy()
    above = regions[LINEAR] | regions[BEYOND_HIGH] if BEYOND_HIGH in regions else regions[LINEAR]
    statistics = UnitStatistics(
        samples=0,
        fired=np.zeros(units, np.int64),
        counts=counts,
        sums=sums,
        squares=squares,
        minimum=minimum.numpy(),
        maximum=maximum.numpy(),
        nonfinite=(~finite).sum(dim=(0, 2)).numpy() if not whole else np.zeros(units, np.int64),
        last_fired=np.full(units, -1, np.int64),
    )
    return statistics, above.any(dim=2)


def region_masks(z: Tensor, activation: Activation) -> dict[int, Tensor]:
    """One boolean mask for each region of the activation, for z of shape (samples, units, positions)."""
    above = z > activation.threshold
    masks = {BELOW: ~above, LINEAR: above}
    if activation.cap is not None:
        masks[BEYOND_HIGH] = z > activation.cap
        masks[LINEAR] = above & ~masks[BEYOND_HIGH]
    if activation.floor is not None:
        floor = torch.as_tensor(np.asarray(activation.floor, np.float64)).reshape(1, -1, 1).to(z.device)
        masks[BEYOND_LOW] = z < floor
        masks[BELOW] = masks[BELOW] & ~masks[BEYOND_LOW]
    return masks


def output_sums(output: Tensor, view: Layout) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Σh, Σ|h| and Σh² a unit, over the finite outputs of one call."""
    sums = [np.zeros(view.units) for _ in range(3)]
    for _, block in _blocks(as_units(output, view)):
        h = torch.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0).cpu()
        for total, part in zip(sums, (h, h.abs(), h.square()), strict=True):
            total += part.sum(dim=(0, 2)).numpy()
    return sums[0], sums[1], sums[2]


def region_codes(pre_activation: Tensor, view: Layout, activation: Activation) -> Tensor:
    """The region of every element, one byte each, as (samples, units, positions): kept until the gradient arrives."""
    z = as_units(pre_activation, view)
    codes = torch.zeros(z.shape, dtype=torch.uint8, device=z.device)
    for region, mask in region_masks(z, activation).items():
        codes[mask] = region
    return codes


def gradient_sums(gradient: Tensor, view: Layout, codes: Tensor) -> GradientStatistics:
    """Σ|g| and Σg² a region and unit over the finite elements of ∂L/∂h, with no sample counted yet."""
    absolute, squares = np.zeros((4, view.units)), np.zeros((4, view.units))
    g = as_units(gradient, view)
    nonfinite = g.numel() - int(torch.isfinite(g).sum())
    if nonfinite:
        g = torch.nan_to_num(g, nan=0.0, posinf=0.0, neginf=0.0)
    rows = max(1, _BLOCK // max(1, view.units * view.positions))
    for start in range(0, view.samples, rows):
        block, code = g[start : start + rows].double().abs(), codes[start : start + rows]
        for region in range(4):
            part = torch.where(code == region, block, 0.0)
            absolute[region] += part.sum(dim=(0, 2)).cpu().numpy()
            squares[region] += part.square_().sum(dim=(0, 2)).cpu().numpy()
    return GradientStatistics(0, absolute, squares, nonfinite)
