"""A checkup: observe a model, diagnose the record, and hold both for reading, saving and printing.

Loading and printing a saved checkup must work without torch; `check` changes nothing of the model that it is given.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leaky import documents
from leaky.arguments import takes
from leaky.diagnosis import Diagnosis, Finding, Thresholds, UnitVerdicts, diagnose
from leaky.documents import Json
from leaky.errors import InputError
from leaky.observation import ObserveArguments, observed
from leaky.observation.options import renamed
from leaky.record import Record
from leaky.report.shown import Shown, as_text
from leaky.report.view import View
from leaky.text import named, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".json", ".html")
"""The suffixes that `Checkup.save` knows."""


@dataclass(frozen=True, eq=False)
class Checkup(Shown):
    """What a model's units did on some data, and what that means.

    `print(checkup)` is the report as plain text; rich and notebooks draw it.

    Attributes:
        diagnosis: the record with its findings and verdicts.
        initial: the record of the same model with its initial weights, where they were given.
    """

    diagnosis: Diagnosis
    initial: Record | None = None

    @property
    def record(self) -> Record:
        """The record that it was made from: what every unit of every site did."""
        return self.diagnosis.record

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, worst first."""
        return self.diagnosis.findings

    @property
    def verdicts(self) -> dict[str, UnitVerdicts]:
        """The verdicts on each site's units, by the site's name."""
        return self.diagnosis.verdicts

    def __str__(self) -> str:
        return as_text(self.view(), 80)  # a table, made for a width

    def __repr__(self) -> str:
        from leaky.report.rows import headline

        return printable(f"<Checkup of {named(self.record.model)}: {headline(self.diagnosis)}>")

    def view(self) -> View:
        """What a reader is shown: the answer, the sites, what was found and how sure that is."""
        from leaky.report.terminal import checkup_view

        return checkup_view(self.diagnosis)

    def _repr_html_(self) -> str:
        from leaky.report.page.notebook import in_a_cell

        return in_a_cell(self.diagnosis)

    def plot(self) -> Figure:
        """A figure for a paper: firing rates, the units in trouble, and E h² of the outputs h, layer by layer.

        Returns:
            A `matplotlib.figure.Figure` that pyplot does not know of.

        Raises:
            MissingExtraError: if matplotlib is not installed.
            InputError: if no site was examined.
        """
        from leaky.report.figures import checkup_figure

        return checkup_figure(self.diagnosis)

    def to_dict(self) -> Json:
        """The checkup as JSON-safe data, as docs/json.md describes it."""
        return documents.as_data("checkup", self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the checkup to `path`, whole or not at all, in the format of its suffix: .json, or the page as .html.

        Raises:
            InputError: if the suffix is another one, or the file cannot be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in FORMATS:
            raise InputError(f"the file's suffix must be one of {', '.join(FORMATS)}, not {suffix or 'none'!r}")
        documents.save(path, "checkup", self)


@dataclass(frozen=True, kw_only=True)
class CheckArguments(ObserveArguments):
    """What is examined, how, and what decides: the arguments of `leaky.check`.

    Attributes:
        initial: the weights that training began with, as a state dict, a .pt or .safetensors file, or a second model;
            it is observed on the same data, before the model itself, and tells born dead from died in training.
        thresholds: what decides, by name; docs/rules/README.md has the table.
        ignore: slugs of rules whose findings are left out.
        population: whether these data are all the data there is: then no verdict needs a bound.
    """

    initial: Any = None
    thresholds: Mapping[str, float] | None = None
    ignore: Collection[str] = ()
    population: bool = False


@dataclass(frozen=True)
class Labels:
    """What a report calls the model and the data.

    Attributes:
        model, data: by default what they are.
        on_noise: whether the data are made up; every verdict then says so.
    """

    model: str | None = None
    data: str | None = None
    on_noise: bool = False

    def on(self, record: Record) -> Record:
        """The record so labelled."""
        return replace(record, model=self.model or record.model, data=self.data or record.data, on_noise=self.on_noise)


def _instead(name: str, value: Any) -> str | None:
    if name in Thresholds().as_dict():
        return f"{name} is a threshold: thresholds={{{name!r}: {value!r}}}"
    return renamed("check")(name, value)


@takes(CheckArguments, _instead)
def check(given: CheckArguments) -> Checkup:
    """Find the units of a model that have stopped learning: `leaky.observe`, then `leaky.diagnose`.

    Returns:
        The Checkup: print it, save it, read its findings.

    Raises:
        InputError: if the model, the data, an option or a threshold is not what it must be. What the model's own code
            raises passes through unchanged.
    """
    return checked(given)


def checked(given: CheckArguments, labels: Labels = Labels()) -> Checkup:
    """As `check`, with its arguments as one thing."""
    Thresholds.of(given.thresholds)  # a misspelt name is told before the work, not after it
    first = None
    if given.initial is not None:
        if isinstance(given.data, Iterator):
            raise InputError(
                "with initial weights the data must be something that can be run through twice, such as a list or "
                f"a DataLoader, not a {type(given.data).__name__}"
            )
        first = labels.on(observed(_with_weights(given.model, given.initial), given.data, given))
    record = labels.on(observed(given.model, given.data, given))
    found = diagnose(
        record, initial=first, ignore=given.ignore, thresholds=given.thresholds, population=given.population
    )
    return Checkup(found, first)


def _with_weights(model: Any, initial: Any) -> Any:
    """A second model with the initial weights; `model` itself is never written to."""
    from torch import nn

    if isinstance(initial, nn.Module) or not isinstance(model, nn.Module):
        return initial
    from leaky.observation.weights import load_weights, read_weights

    is_file = isinstance(initial, str | os.PathLike)
    if not is_file and not isinstance(initial, Mapping):
        raise InputError(f"initial must be a state dict, a file of one or a model, not {type(initial).__name__}")
    state = read_weights(initial) if is_file else initial
    try:
        second = copy.deepcopy(model)
    except Exception as error:  # deepcopy runs the user's own code
        raise InputError(
            f"the model must be copyable to load its initial weights beside the present ones ({error}); "
            "pass initial= a second model that has them"
        ) from error
    load_weights(second, state, f"the initial weights in {initial!r}" if is_file else "the initial weights")
    return second
