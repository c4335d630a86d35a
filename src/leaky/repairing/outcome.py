"""What a repair did, and on what evidence: plain data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from leaky import documents
from leaky.repairing.plan import Action, Left
from leaky.repairing.recipe import Recipe
from leaky.repairing.view import record_view, trial_words
from leaky.report.shown import Shown
from leaky.report.view import View
from leaky.text import printable, shortened

Verdict = Literal["kept", "not judged", "left", "rolled back", "nothing to do"]


@dataclass(frozen=True)
class Trial:
    """What became of the model under one treatment.

    Attributes:
        name: of the treatment; "as it was" for none.
        before: the user's metric right after the change.
        after: after the training; as before it, where there was none.
        trainings: how often `train` was called for it.
    """

    name: str
    before: float
    after: float
    trainings: int = 0

    def __str__(self) -> str:
        return printable(trial_words(self))


@dataclass(frozen=True)
class SiteDrift:
    """One site before and after.

    Attributes:
        site: its name.
        mean: of the pre-activations on all of the data, the average over the units, before and after.
        second_moment: E z² of the pre-activations likewise, before and after.
        change: ‖after − before‖ / ‖before‖ of what leaves the site, on at most 256 samples; infinite where only one of
            them is finite, or it was 0.
    """

    site: str
    mean: tuple[float, float]
    second_moment: tuple[float, float]
    change: float


@dataclass(frozen=True)
class RepairRecord(Shown):
    """What a repair did.

    Attributes:
        verdict: "kept" on evidence; "not judged": done because it moves nothing or there was nothing to lose; "left" as
            it was; "rolled back"; "nothing to do".
        reason: why.
        actions: what was done, or tried in vain.
        left: what was not, and why.
        output_change: ‖change of the outputs‖ / ‖outputs‖ on the data.
        metric: the user's metric before and after; None without one.
        lost_share: units that are dead or constant over all units, before and after.
        recipe: what the weights cannot hold.
        trials: what each treatment came to, gentlest first.
        trainings: calls of `train` in all, and the most that were allowed; None without `train`.
        notes: what the user should know of the trials.
        drift: what each site got and gave before and after, in the order of the flow; none where nothing was done.
    """

    verdict: Verdict
    reason: str
    actions: tuple[Action, ...]
    left: tuple[Left, ...]
    output_change: float
    metric: tuple[float, float] | None
    lost_share: tuple[float, float]
    recipe: Recipe
    trials: tuple[Trial, ...] = ()
    trainings: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    drift: tuple[SiteDrift, ...] = ()

    @property
    def kept(self) -> bool:
        """Whether what was planned is done; if not, the model is as it was to the last bit."""
        return self.verdict in ("kept", "not judged", "nothing to do")

    def to_dict(self) -> documents.Json:
        """What was done as JSON-safe data, a document of the kind "repair"."""
        return documents.as_data("repair", self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was done as JSON (or, in .html, as its page), whole or not at all."""
        documents.save(path, "repair", self)

    def __repr__(self) -> str:
        return printable(f"<RepairRecord: {self.verdict}: {shortened(self.reason)}>")

    def view(self) -> View:
        """What a reader is shown."""
        return record_view(self)
