"""A checkup: observe a model, diagnose the record, and hold both for reading, saving and printing.

Loading and printing a saved checkup must work without torch; `check` changes nothing of the model that it is given.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leaky import documents
from leaky.diagnosis import Diagnosis, Finding, Thresholds, UnitVerdicts, diagnose
from leaky.documents import Json
from leaky.errors import InputError
from leaky.record import Record
from leaky.report.shown import Shown, as_text
from leaky.report.view import View
from leaky.text import named, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from leaky.observation import Options

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
        """What was seen."""
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
        """A matplotlib figure for a paper: firing rates, what is wrong and E h², layer by layer.

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


def check(
    model: Any,
    data: Any,
    *,
    initial: Any = None,
    thresholds: Mapping[str, float] | None = None,
    ignore: Collection[str] = (),
    population: bool = False,
    **options: Any,
) -> Checkup:
    """Find the units of a model that have stopped learning: `leaky.observe`, then `leaky.diagnose`.

    Args:
        model: a torch module, or an ONNX model as path or bytes. It is left as it was.
        data: a tensor or array of shape (samples, …), or an iterable of batches, each a tensor, an array, a tuple
            whose first item is the input, or a mapping of keyword inputs.
        initial: the weights that training began with, as a state dict, a .pt or .safetensors file, or a second model;
            it is observed on the same data, and tells born dead from died in training.
        thresholds: what decides, by name; docs/rules/README.md has the table.
        ignore: slugs of rules whose findings are left out.
        population: whether these data are all the data there is: then no verdict needs a bound.
        options: how to observe: mode, loss, device, max_samples, seed, unit_dim, sample_dim, batch_size, progress,
            forward, mask and groups, as in `leaky.observe`. progress starts anew for the initial weights, which come
            first.

    Returns:
        The Checkup: print it, save it, read its findings.

    Raises:
        InputError: if the model, the data, an option or a threshold is not what it must be. What the model's own code
            raises passes through unchanged.
    """
    from leaky.observation import Options

    limits = sorted(Thresholds().as_dict().keys() & options.keys())
    if limits:
        raise InputError(f"{limits[0]} is a threshold: thresholds={{{limits[0]!r}: {options[limits[0]]!r}}}")
    chosen = Options.of(options, "check", ("initial", "thresholds", "ignore", "population"))
    return checked(model, data, chosen, initial=initial, thresholds=thresholds, ignore=ignore, population=population)


def checked(
    model: Any,
    data: Any,
    options: Options,
    *,
    initial: Any = None,
    thresholds: Mapping[str, float] | None = None,
    ignore: Collection[str] = (),
    population: bool = False,
) -> Checkup:
    """As `check`, with the options of the observation as one thing."""
    from leaky.observation import observed

    Thresholds.of(thresholds)  # a misspelt name is told before the work, not after it
    first = None
    if initial is not None:
        if isinstance(data, Iterator):
            raise InputError(
                "with initial weights the data must be something that can be run through twice, such as a list or "
                f"a DataLoader, not a {type(data).__name__}"
            )
        first = observed(_with_weights(model, initial), data, options)
    record = observed(model, data, options)
    return Checkup(diagnose(record, initial=first, ignore=ignore, thresholds=thresholds, population=population), first)


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
