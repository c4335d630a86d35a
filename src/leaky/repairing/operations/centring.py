"""New units are centred and scaled by what reaches them: each is to fire on about half of the samples.

New units may feed new units, so that it goes from the input to the output. Where the data are one batch and each unit's
own layer or norm says all, one pass does it for all sites: what is measured is put right before the pass goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leaky.observation import observe
from leaky.observation.batches import Batch, batches_of
from leaky.record import FloatArray
from leaky.repairing.ground import Ground, owned
from leaky.structure.graph import Node
from leaky.structure.label_propagation import Channelled
from leaky.structure.label_rules import NONE
from leaky.structure.units import Made, SiteStructure

CENTRED_ON = 1024
"""Samples that new units are centred on, at most."""

MOST_ENTRIES = 2**22
"""Entries of so many samples up to which they go through a model at once."""


class _ChannelStatistics:
    """Runs a BatchNorm after giving the channels of new units the statistics of the first batch."""

    def __init__(self, ground: Ground, norm: Channelled, units: tuple[int, ...]) -> None:
        running = map(norm.event.call.get, ("running_mean", "running_var"))
        names = [argument.weights[0] for argument in running if isinstance(argument, Node)]
        self.targets = [(ground.tensor(n), owned(norm.owners[n], units)) for n in names if n in norm.owners]
        self.values: list[Tensor] = []

    def __call__(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if not self.values and len(self.targets) == 2:
            value = args[0].detach().double()
            others = [d for d in range(value.ndim) if d != 1]
            variance, mean = torch.var_mean(value, dim=others, correction=0)
            self.values = [mean, variance]
            self.write()
        return function(*args, **kwargs)

    def write(self) -> None:
        for (tensor, mask), value in zip(self.targets, self.values, strict=False):
            place = mask.to(tensor.device)
            tensor[place] = value.to(tensor.dtype)[place]


class _LayerStatistics:
    """Runs a layer, scales and centres the new units by what it gave, and runs it again."""

    def __init__(self, ground: Ground, site: SiteStructure, made: Made, units: tuple[int, ...], dim: int) -> None:
        assert made.bias is not None
        self._ground, self._site, self._units, self._dim = ground, site, units, dim
        self._unit_of = made.bias[1].reshape(-1).numpy()
        self._done = False

    def __call__(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        output = function(*args, **kwargs)
        if self._done:
            return output
        self._done = True
        value = output.detach().double()
        others = [d for d in range(value.ndim) if d != self._dim]
        variance, mean = torch.var_mean(value, dim=others, correction=0)
        own = self._unit_of != NONE
        means, deviations = np.zeros(self._site.units), np.zeros(self._site.units)
        means[self._unit_of[own]] = mean.cpu().numpy()[own]
        deviations[self._unit_of[own]] = variance.sqrt().cpu().numpy()[own]
        _scale(self._ground, self._site, self._units, means, deviations)
        return function(*args, **kwargs)


def centre(ground: Ground, sites: Mapping[str, SiteStructure], chosen: Mapping[str, tuple[int, ...]]) -> None:
    """Let each new unit fire on about half of the samples, in the range of its healthy neighbours."""
    ordered = sorted((site for name, site in sites.items() if chosen[name]), key=lambda site: site.event.number)
    in_passing = [_in_passing(ground, site, chosen[site.name]) for site in ordered]
    if all(handlers is not None for handlers in in_passing) and _is_one_batch(ground):
        together = {number: one for handlers in in_passing if handlers is not None for number, one in handlers.items()}
        ground.replay(together, max_samples=CENTRED_ON, batch_size=CENTRED_ON)
        with torch.no_grad():
            for handler in together.values():
                if isinstance(handler, _ChannelStatistics):
                    handler.write()  # the replay has put the buffers back
    else:
        _one_by_one(ground, ordered, chosen)


def _in_passing(
    ground: Ground, site: SiteStructure, units: tuple[int, ...]
) -> dict[int, _ChannelStatistics | _LayerStatistics] | None:
    """What puts a site's new units right while a pass goes on; None where its pre-activation is needed for it."""
    if all(any(norm.norm for norm in made.norms) for made in site.made):
        return {n.event.number: _ChannelStatistics(ground, n, units) for m in site.made for n in m.norms if n.norm}
    made = site.made[0]
    if len(site.made) > 1 or made.joined or made.norms or made.bias is None or site.not_made:
        return None
    adds = any(made.bias[0] in node.weights for node in made.event.call.nodes)
    result = made.event.results[0]
    dim = next((d for d, axis in enumerate(result.axes) if any(part.role == "unit" for part in axis)), None)
    if not adds or dim is None or made.bias[1].numel() != result.shape[dim]:
        return None
    return {made.event.number: _LayerStatistics(ground, site, made, units, dim)}


def _is_one_batch(ground: Ground) -> bool:
    """Whether all samples that are centred on can go through at once."""

    def batches(batch_size: int | None) -> Iterator[Batch]:
        dim = ground.history.sample_dim
        return batches_of(ground.batches, ground.model, sample_dim=dim, batch_size=batch_size, max_samples=CENTRED_ON)

    first = next(batches(None))
    entries = sum(tensor.numel() for tensor in first.tensors) / max(1, first.samples(ground.history.sample_dim))
    return entries * CENTRED_ON <= MOST_ENTRIES and len(list(itertools.islice(batches(CENTRED_ON), 2))) == 1


def _one_by_one(ground: Ground, ordered: Sequence[SiteStructure], chosen: Mapping[str, tuple[int, ...]]) -> None:
    """Each site by passes of its own, over all batches."""
    for site in ordered:
        name = site.name
        norms = {
            norm.event.number: _ChannelStatistics(ground, norm, chosen[name])
            for made in site.made
            for norm in made.norms
            if norm.norm
        }
        if norms:
            ground.replay(norms, max_samples=CENTRED_ON)
            with torch.no_grad():
                for statistics in norms.values():
                    statistics.write()  # the replay has put the buffers back
        seen = observe(ground.model, ground.batches, max_samples=CENTRED_ON, seed=0).site(name)
        with torch.no_grad():
            _scale(ground, site, chosen[name], seen.mean, np.sqrt(seen.variance))


def _scale(
    ground: Ground, site: SiteStructure, units: tuple[int, ...], mean: FloatArray, deviation: FloatArray
) -> None:
    healthy = [u for u in range(site.units) if u not in units and deviation[u] > 0]
    target = float(np.median(deviation[healthy])) if healthy else 1.0
    for made in site.made:
        if any(norm.norm for norm in made.norms):
            continue  # the norm centres and scales
        for unit in units:
            factor = target / float(deviation[unit]) if deviation[unit] > 0 and not made.joined else 1.0
            if made.bias is None and mean[unit] < 0:
                factor = -factor  # without a bias the sign alone can bring it above 0
            weight = ground.tensor(made.weight)
            weight[owned(made.owner, [unit]).to(weight.device)] *= factor
            if made.bias is not None:
                bias = ground.tensor(made.bias[0])
                bias[owned(made.bias[1], [unit]).to(bias.device)] = -float(mean[unit]) * factor
