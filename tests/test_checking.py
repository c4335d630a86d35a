"""Arguments that every room takes: what is right comes back as it is meant, what is wrong is told in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leaky.checking import dimension, file_name, finite, seed_of, shown, some_of, unit_numbers, whole
from leaky.errors import InputError


class Unshowable(int):
    def __repr__(self) -> str:
        raise ValueError


def test_what_is_right_comes_back() -> None:
    assert whole("n", np.int64(3), 1, 3) == 3
    assert seed_of(None) is None
    assert seed_of(2**63 - 1) == 2**63 - 1
    assert dimension("d", -64) == -64
    assert finite("x", np.float32(0.5), 0, 1) == 0.5
    assert some_of("names", ["b", "a"], {"a", "b", "c"}) == {"a", "b"}
    assert unit_numbers({"1": np.array([2, 0]), "2": ()}) == {"1": (2, 0), "2": ()}
    assert file_name(Path("a") / "b") == "a/b"


@pytest.mark.parametrize(
    ("check", "value", "words"),
    [
        (lambda v: whole("n", v, 1), 0, "n must be at least 1, not 0"),
        (lambda v: whole("n", v, 0, 9), 10, "n must be from 0 to 9, not 10"),
        (lambda v: whole("n", v), True, "n must be a whole number of at least 0, not True"),
        (lambda v: whole("n", v), 1.0, "not 1.0"),
        (lambda v: whole("n", v), "\x1b", r"not '\x1b'"),
        pytest.param(
            lambda v: whole("n", v, 0, 1),
            10**5000,
            "n must be from 0 to 1, not a int that cannot be shown",
            id="5,000 digits",
        ),
        (seed_of, -1, "seed must be from 0 to 9,223,372,036,854,775,807, not -1"),
        (seed_of, 2**63, "seed must be"),
        (lambda v: dimension("d", v), 64, "d must be from -64 to 63, not 64"),
        (lambda v: finite("x", v), float("nan"), "x must be a finite number, not nan"),
        (lambda v: finite("x", v, 0), -1, "x must be at least 0, not -1"),
        (lambda v: finite("x", v, 0, 1), "1", "x must be a finite number from 0 to 1, not '1'"),
        pytest.param(lambda v: finite("x", v), 10**400, "x must be a finite number", id="400 digits"),
        (lambda v: finite("x", v, most=2), 3, "x must be at most 2, not 3"),
        (lambda v: finite("x", v, most=2), "3", "x must be a finite number of at most 2, not '3'"),
        (lambda v: finite("x", v), True, "not True"),
        (lambda v: finite("x", v), None, "not None"),
        (lambda v: some_of("names", v, {"relu1"}), ["relu2"], "names has 'relu2', which is not there; did you mean"),
        (lambda v: some_of("names", v, {"r"}), "r", "names must be a list of names, not 'r'"),
        (lambda v: some_of("names", v, {"r"}), 5, "names must be a list of names, not 5"),
        (unit_numbers, [3], "units must be numbers by site, {'relu': [3]}, not a list"),
        (unit_numbers, {"1": "23"}, "the units of '1' must be a list of numbers, not '23'"),
        (unit_numbers, {"1": [2, -1]}, "a unit of '1' must be at least 0, not -1"),
        (unit_numbers, {"1": [True]}, "a unit of '1' must be a whole number of at least 0, not True"),
        (file_name, 5, "path must be the name of a file, not 5"),
        (file_name, b"a", "path must be the name of a file, not a bytes"),
    ],
)
def test_what_is_wrong_is_told(check: Any, value: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        check(value)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


def test_anything_can_be_shown() -> None:
    assert shown(Unshowable(3)) == "a Unshowable that cannot be shown"
    assert shown([1, 2]) == "a list"
    assert len(shown("x" * 5000)) < 70
