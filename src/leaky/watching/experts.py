"""The experts of a mixture under watch: which share of the samples each of them was given.

Experts are modules of one class and size side by side in a ModuleList or ModuleDict that do not all see the same
samples. The sums of their sites tell, without a hook of their own; an expert that never ran has no site and no share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from torch import nn

from leaky.record import FloatArray
from leaky.structure.modules import without_wrappers


def alike_groups(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """The members of every container of two or more modules of one class and size that have weights, by its name."""
    return {
        without_wrappers(name): tuple(without_wrappers(f"{name}.{key}".lstrip(".")) for key in module._modules)
        for name, module in model.named_modules()
        if isinstance(module, (nn.ModuleList, nn.ModuleDict)) and len(module) > 1 and _alike(module.children())
    }


def _alike(modules: Iterator[nn.Module]) -> bool:
    forms = {(type(each), tuple(p.shape for p in each.parameters())) for each in modules}
    return len(forms) == 1 and bool(next(iter(forms))[1])


def shares(groups: Mapping[str, tuple[str, ...]], samples: Mapping[str, int]) -> dict[str, FloatArray]:
    """The share of the samples that each member was given, by the name of its container.

    Args:
        groups: members by container.
        samples: that each site has seen.

    Returns:
        Shares that sum to 1; containers are left out whose members have all seen the same, or have no site.
    """
    found = {}
    for name, members in groups.items():
        inside = [[n for site, n in samples.items() if site.startswith(f"{each}.")] for each in members]
        seen = np.array([max(counts, default=0) for counts in inside], float)
        if seen.sum() and seen.min() < seen.max():
            found[name] = np.asarray(seen / seen.sum())
    return found
