"""What a repair did, and on what evidence: plain data."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Literal

from leaky import documents
from leaky.repairing.plan import Action, Left
from leaky.repairing.recipe import Recipe

Verdict = Literal["kept", "not judged", "left", "rolled back", "nothing to do"]

_WORDS: dict[Verdict, str] = {
    "kept": "Kept",
    "not judged": "Done, not judged",
    "left": "Left as it was",
    "nothing to do": "Left as it was",
    "rolled back": "Rolled back",
}


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
        if not self.trainings:
            return f"{self.name}: {self.before:.6g}"
        times = "" if self.trainings == 1 else f" ({self.trainings} times)"
        return f"{self.name}: {self.before:.6g}, trained for a while{times} {self.after:.6g}"


@dataclass(frozen=True)
class RepairRecord:
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

    def __str__(self) -> str:
        lines = [f"{_WORDS[self.verdict]}: {self.reason}"]
        if self.verdict not in ("left", "nothing to do"):
            change = f"{self.output_change:.3g} of their size" if math.isfinite(self.output_change) else "all they were"
            lines.append(f"  outputs changed by {change}")
            lines += [f"  {change}" for action in self.actions for change in action.changes]
        if self.metric is not None:
            lines.append(f"  validation {self.metric[0]:.6g} before, {self.metric[1]:.6g} after")
        lines += [f"  {trial}" for trial in self.trials]
        if self.trainings is not None:
            lines.append(f"  {self.trainings[0]} short trainings, of at most {self.trainings[1]}")
        lines.append(f"  dead or constant units {self.lost_share[0]:.2%} before, {self.lost_share[1]:.2%} after")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])
