"""The picture of firing rates: its ends stand alone, and no unit is invisible."""

from __future__ import annotations

import numpy as np
import pytest

from leaky.report.strip import ASCII_RAMP, RAMP, histogram, strip


@pytest.mark.parametrize(
    ("rates", "counts"),
    [
        ([], [0] * 10),
        ([0, 0, 1], [2, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ([1e-9, 1 - 1e-16], [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]),
        ([0.125, 0.12499, 0.5], [0, 1, 1, 0, 0, 1, 0, 0, 0, 0]),
        ([np.nan, 0], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_histogram(rates: list[float], counts: list[int]) -> None:
    assert histogram(np.array(rates)) == counts


def test_a_single_unit_beside_thousands_is_seen() -> None:
    assert strip(np.array([0.0] + [0.5] * 5000)) == "▁    █    "
    assert strip(np.array([0.0] + [0.5] * 5000), ASCII_RAMP) == ".    @    "


def test_height_is_the_share_of_the_fullest() -> None:
    assert strip(np.array([0.0] * 8 + [1.0] * 4)) == "█        ▄"


def test_without_a_rate_there_is_no_picture() -> None:
    assert strip(np.array([np.nan, np.nan])) == ""


def test_ramps_begin_blank() -> None:
    assert RAMP[0] == ASCII_RAMP[0] == " "
    assert ASCII_RAMP.isascii()
