"""Functions whose arguments are a data class look and behave as if these were spelled out."""

from __future__ import annotations

import inspect
import pickle
import re
from dataclasses import dataclass, fields
from typing import Any

import pytest

import leaky
from leaky.arguments import takes
from leaky.checkup import CheckArguments
from leaky.errors import InputError
from leaky.observation import ObserveArguments, Options
from leaky.observation.following import AnalyseArguments
from leaky.repairing.api import RepairArguments
from leaky.repairing.calibration import CalibrateArguments
from leaky.repairing.initialization import InitializeArguments
from leaky.repairing.pruning import PruneArguments
from leaky.watching.arguments import WatchArguments


@dataclass(frozen=True, kw_only=True)
class Whereabouts:
    """Where.

    Attributes:
        city: in which
            it is.
        street: along which.
    """

    city: str = "Basel"
    street: str = ""


@dataclass(frozen=True)
class Visit(Whereabouts):
    """Who and where.

    Attributes:
        guest: who comes.
    """

    guest: str


def where_to(name: str, value: Any) -> str | None:
    """A word for `town`."""
    return f"town is a city now: city={value!r}" if name == "town" else None


@takes(Visit, where_to)
def visit(given: Visit) -> tuple[str, str, str]:
    """Go there.

    Returns:
        All of it.
    """
    return given.guest, given.city, given.street


def test_arguments_come_by_place_and_by_name() -> None:
    assert visit("Ada") == visit(guest="Ada") == ("Ada", "Basel", "")
    assert visit("Ada", street="Rhine", city="Bern") == ("Ada", "Bern", "Rhine")


def test_signature_and_docstring_are_those_of_the_class() -> None:
    shown = inspect.signature(visit)
    assert [(each.name, each.default) for each in shown.parameters.values()] == [
        ("guest", inspect.Parameter.empty), ("city", "Basel"), ("street", ""),
    ]  # fmt: skip
    assert shown.return_annotation == "tuple[str, str, str]"
    assert visit.__doc__ == (
        "Go there.\n\nArgs:\n    guest: who comes.\n    city: in which\n        it is.\n    street: along which.\n\n"
        "Returns:\n    All of it.\n"
    )


def test_what_does_not_fit_is_told_by_the_name_of_the_function() -> None:
    wrong: Any = visit
    with pytest.raises(TypeError, match=r"^visit\(\): missing a required argument: 'guest'$"):
        wrong()
    with pytest.raises(TypeError, match=r"^visit\(\): too many positional arguments$"):
        wrong("Ada", "Bern")
    with pytest.raises(InputError, match=r"^visit has no option 'citty'; did you mean 'city'"):
        wrong("Ada", citty="Bern")
    with pytest.raises(InputError, match=r"^town is a city now: city='Bern'$"):
        wrong("Ada", town="Bern")


def test_whatever_observes_takes_every_option() -> None:
    options = {each.name for each in fields(Options)}
    assert (
        options < inspect.signature(leaky.observe).parameters.keys() < inspect.signature(leaky.check).parameters.keys()
    )


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (leaky.observe, ObserveArguments),
        (leaky.check, CheckArguments),
        (leaky.watch, WatchArguments),
        (leaky.analyse, AnalyseArguments),
        (leaky.repair, RepairArguments),
        (leaky.prune, PruneArguments),
        (leaky.initialize, InitializeArguments),
        (leaky.calibrate, CalibrateArguments),
    ],
)
def test_public_functions_have_every_option_once_and_say_what_it_means(function: Any, arguments: Any) -> None:
    names = {each.name for each in fields(arguments)}
    shown = inspect.signature(function).parameters
    assert shown.keys() == names
    by_place = [name for name, each in shown.items() if each.kind is not each.KEYWORD_ONLY]
    assert by_place[:2] == ["model", {leaky.watch: "optimizer", leaky.repair: "checkup"}.get(function, "data")]
    assert by_place[2:] == {leaky.repair: ["data"], leaky.prune: ["units"]}.get(function, [])
    assert all(function.__doc__.count(f"\n    {name}: ") == 1 for name in names)
    assert pickle.loads(pickle.dumps(function)) is function


def words_of(function: Any, name: str) -> str:
    """What a function's docstring says of an argument."""
    found = re.search(rf"^    {name}: (.*(?:\n     .*)*)", function.__doc__, flags=re.MULTILINE)
    assert found is not None
    return " ".join(found[1].split())


@pytest.mark.parametrize(
    "function", [leaky.check, leaky.analyse, leaky.repair, leaky.prune, leaky.initialize, leaky.calibrate]
)
def test_data_and_forward_are_the_same_wherever_a_model_is_taken_with_data(function: Any) -> None:
    assert words_of(function, "forward") == words_of(leaky.observe, "forward")
    assert words_of(function, "data").lower().endswith(words_of(leaky.observe, "data").lower())
    assert "as `leaky." not in words_of(function, "data") + words_of(function, "forward")


def test_own_words_on_an_argument_come_before_those_of_the_class_that_it_comes_from() -> None:
    @dataclass(frozen=True)
    class Stay(Visit):
        """Longer.

        Attributes:
            city: not
                a village.
        """

    @takes(Stay)
    def stay(given: Stay) -> None:
        """Stay."""

    assert words_of(stay, "city") == "not a village. In which it is."
