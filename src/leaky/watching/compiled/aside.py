"""The structure of compiled passes, learned from one pass aside.

Python itself runs that pass, with everything put back after it, so that the user's own pass stays the compiled one, bit
for bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from leaky.observation.batches import Batch
from leaky.observation.preserve import Preserved
from leaky.observation.riding.discovery import Discovery
from leaky.observation.riding.structure import KnownCall, Structure
from leaky.structure.listening import SiteCall
from leaky.structure.trace import Tracer


def learned(
    model: nn.Module,
    module: nn.Module,
    batch: Batch,
    sample_dim: int | None,
    tracer_of: Callable[[Any], Tracer],
) -> tuple[Structure, dict[KnownCall, SiteCall]]:
    """The structure of a pass of a module, and each of its calls as the tracer saw it, in the order in which they ran.

    Args:
        model: that is watched.
        module: of it, through which the pass comes in.
        batch: its inputs.
        sample_dim: the axis of the inputs that holds the samples.
        tracer_of: makes the tracer that tells a listener.
    """
    calls: dict[KnownCall, SiteCall] = {}
    discovery = Discovery(tracer_of, lambda known, call: _Collecting(known, call, calls))
    modes = [(each, each.training) for each in model.modules()]
    with (
        warnings.catch_warnings(),
        torch.compiler.set_stance("force_eager"),
        Preserved(model, "train", None, None, values=False),
        batch.kept(),
        torch.no_grad(),
    ):
        warnings.simplefilter("ignore")
        for each, mode in modes:
            each.training = mode
        discovery.open(module, batch.args, batch, sample_dim)
        try:
            output = module._call_impl(*batch.args, **batch.kwargs)  # type: ignore[no-untyped-call]
        except BaseException:
            discovery.abandon()
            raise
        return discovery.close(output, sample_dim), calls


class _Collecting:
    """Takes nothing in, and keeps each call as the tracer saw it."""

    def __init__(self, known: KnownCall, call: SiteCall | None, calls: dict[KnownCall, SiteCall]) -> None:
        self.quick: dict[KnownCall, Callable[[Tensor, Tensor], bool]] = {}
        if call is not None:
            calls[known] = call

    def take(self, z: Tensor, call: KnownCall) -> bool:
        """Nothing is taken in."""
        return False

    def follow(self, z: Tensor | None, output: Tensor, call: KnownCall) -> None:
        """Nothing is waited for."""

    def follow_again(self, z: Tensor | None, output: Tensor, call: KnownCall) -> None:
        """Nothing is waited for."""
