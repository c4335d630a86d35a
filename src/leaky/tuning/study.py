"""A study as plain data: every training with its result, to be read, saved and drawn."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leaky import documents
from leaky.report.shown import Shown
from leaky.report.view import View
from leaky.text import counted, listed, printable
from leaky.tuning.conclusions import Conclusions
from leaky.tuning.wording import study_view

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Study(Conclusions, Shown):
    """Slopes × seeds, and the answer; `Conclusions` has the fields."""

    def to_dict(self) -> documents.Json:
        """The study as JSON-safe data, a document of the kind "study"."""
        return documents.as_data("study", self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the study as JSON, or as its page where the name ends in .html, whole or not at all.

        Raises:
            InputError: if the file cannot be written.
        """
        documents.save(path, "study", self)

    def __repr__(self) -> str:
        labels = listed(arm.label for arm in self.arms)
        return printable(f"<Study of {labels} on {counted(len(self.seeds), 'seed')}: {self.answer.kind}>")

    def plot(self) -> Figure:
        """A matplotlib figure for a paper: scores by slope, and paired differences with their intervals.

        Raises:
            MissingExtraError: if matplotlib is not installed.
            InputError: if no training has ended.
        """
        from leaky.report.figures import study_figure

        return study_figure(self)

    def view(self) -> View:
        """What a reader is shown: the answer, the ranking, the cost."""
        return study_view(self)
