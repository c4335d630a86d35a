"""What a repair did, and on what evidence: plain data."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Literal

from leaky import documents
from leaky.repairing.plan import Action, Left
from leaky.repairing.recipe import Recipe
from leaky.report.shown import Shown
from leaky.report.view import Tone, View, line, titled
from leaky.text import percentage, printable, shortened

Verdict = Literal["kept", "not judged", "left", "rolled back", "nothing to do"]
TITLES: dict[Verdict, str] = {
    "kept": "Kept",
    "not judged": "Done, not judged",
    "left": "Left as it was",
    "nothing to do": "Left as it was",
    "rolled back": "Rolled back",
}


@dataclass(frozen=True)
class TreatmentResult:
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
        return printable(_result_words(self))


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
        results: what each treatment came to, gentlest first.
        trainings: calls of `train` in all, and the most that were allowed; None without `train`.
        notes: what the user should know of the treatments.
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
    results: tuple[TreatmentResult, ...] = field(default=(), metadata={"formerly": "trials"})
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
        return _record_view(self)


def _record_view(record: RepairRecord) -> View:
    """What was done, on which evidence."""
    tone: Tone = "good" if record.verdict == "kept" else "strong"
    lines = [titled(TITLES[record.verdict], record.reason, tone)]
    if record.verdict not in ("left", "nothing to do"):
        known = math.isfinite(record.output_change)
        change = f"{record.output_change:.3g} of their size" if known else "all they were"
        lines.append(line(f"outputs changed by {change}", indent=1))
        lines += [line(change, indent=1) for action in record.actions for change in action.changes]
    if record.metric is not None:
        lines.append(line(f"validation {record.metric[0]:.6g} before, {record.metric[1]:.6g} after", indent=1))
    lines += [line(_result_words(result), indent=1) for result in record.results]
    if record.trainings is not None:
        lines.append(line(f"{record.trainings[0]} short trainings, of at most {record.trainings[1]}", indent=1))
    before, after = map(percentage, record.lost_share)
    lines.append(line(f"dead or constant units {before} before, {after} after", indent=1))
    return (*lines, *(titled("note", note, "quiet", indent=1) for note in record.notes))


def _result_words(result: TreatmentResult) -> str:
    """What became of the model under one treatment."""
    if not result.trainings:
        return f"{result.name}: {result.before:.6g}"
    times = "" if result.trainings == 1 else f" ({result.trainings} times)"
    return f"{result.name}: {result.before:.6g}, trained for a while{times} {result.after:.6g}"
