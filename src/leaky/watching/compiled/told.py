"""Who is told of the compiled passes of one watch."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from leaky.observation.batches import Batch
from leaky.observation.riding.rider import Rider
from leaky.observation.riding.structure import KnownCall, Structure
from leaky.structure.listening import SiteCall
from leaky.watching.clock import Clock
from leaky.watching.site import WatchedSite


class Told(Protocol):
    """Who is told of the passes."""

    clock: Clock
    rider: Rider
    observing: bool
    sites: dict[str, WatchedSite]

    def wants(self, module: nn.Module, with_gradient: bool) -> bool:
        """Whether a pass is to be observed."""

    def begin(self, samples: int, batch: Batch, structure: Structure | None) -> None:
        """An observed pass begins."""

    def end(self, structure: Structure | None, completed: bool) -> None:
        """It has ended."""

    def taker_of(self, known: KnownCall, call: SiteCall | None) -> WatchedSite:
        """Who takes in what a call shows."""

    def note(self, note: str) -> None:
        """Say something to the user, once."""

    def failed(self, error: Exception) -> None:
        """Something in leaky itself went wrong."""
