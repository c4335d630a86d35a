"""A fast part of `python -m benchmarks.hostile`: every so manieth situation that needs no program of its own."""

from __future__ import annotations

import pytest
from benchmarks.hostile import arrays, commands, documents, mistakes, places
from benchmarks.hostile.__main__ import attempt
from benchmarks.hostile.situation import Situation, command, one_line

from leaky.errors import InputError

SAMPLE = [
    *list(commands.situations())[::6],
    *list(documents.situations())[::23],
    *list(arrays.situations())[::5],
    *list(mistakes.situations())[::7],
    *list(places.situations())[::4],
]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("situation", SAMPLE, ids=lambda situation: f"{situation.kind} {situation.name}"[:60])
def test_it_ends_as_it_should(situation: Situation) -> None:
    assert attempt(situation) == ""


def test_there_are_enough() -> None:
    assert len([*commands.situations(), *documents.situations()]) >= 400


def test_what_ends_otherwise_is_counted() -> None:
    class UnescapedError(InputError):
        def __str__(self) -> str:
            return "a\nb"

    def several_lines() -> None:
        raise UnescapedError

    def raw() -> None:
        raise KeyError("a")

    found = [
        attempt(Situation("k", "n", lambda _: one_line(several_lines))),
        attempt(Situation("k", "n", lambda _: one_line(lambda: None))),
        attempt(Situation("k", "n", lambda _: one_line(raw))),
        attempt(Situation("k", "n", lambda _: str(command("frob", status=(0,))).clear())),  # type: ignore[attr-defined]
    ]
    assert all(found), found
