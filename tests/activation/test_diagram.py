"""The picture draws the formula, in every format, without a trace in pyplot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import leaky
from leaky.activation import diagram, formula
from leaky.errors import InputError, MissingExtraError

SIGNATURES = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}


def _curves(axes: Any) -> dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """The labelled lines of a panel, without their gaps."""
    lines = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
    points = {line.get_label(): line.get_xydata() for line in lines}
    return {label: tuple(xy[np.isfinite(xy[:, 0])].T) for label, xy in points.items()}


def _hold_against_the_formula(figure: Any, slopes: list[float], gain: float, clamp: float | None) -> None:
    for axes, curve in zip(figure.axes, (formula.value, formula.derivative), strict=True):
        drawn = _curves(axes)
        assert len(drawn) == len(slopes) + 1
        low, high = axes.get_xlim()
        for alpha in slopes:
            x, y = drawn[rf"$\alpha = {alpha:g}$"]
            assert (x.min(), x.max()) == (low, 0.0)
            assert np.array_equal(y, curve(x, alpha, gain=gain, clamp=clamp))
            x, y = drawn["$x > 0$"]
            assert 0.0 < x.min() < 1e-300
            assert x.max() == high
            assert np.array_equal(y, curve(x, alpha, gain=gain, clamp=clamp))


@settings(max_examples=15, deadline=None)
@given(
    slopes=st.lists(st.floats(-2, 3).map(lambda alpha: round(alpha, 2)), min_size=1, max_size=5, unique=True),
    gain=st.floats(0.1, 10),
    clamp=st.none() | st.floats(0.1, 20),
)
def test_the_drawn_points_are_the_formulas(slopes: list[float], gain: float, clamp: float | None) -> None:
    _hold_against_the_formula(leaky.plot(slopes, gain, clamp), slopes, gain, clamp)


def test_the_check_of_the_drawn_points_can_fail() -> None:
    figure = leaky.plot((0.1,))
    line = figure.axes[0].get_lines()[-1]
    line.set_ydata(line.get_ydata() + 1e-6)
    with pytest.raises(AssertionError):
        _hold_against_the_formula(figure, [0.1], 1.0, None)


def test_both_sides_of_a_bound_are_drawn_and_nothing_between() -> None:
    right = leaky.plot((0.5,), gain=2.0, clamp=3.0).axes[1]
    for label, inner, bound in (("$x > 0$", 2.0, 1.5), (r"$\alpha = 0.5$", 1.0, -3.0)):
        x, y = _curves(right)[label]
        assert y[x == bound] == inner
        assert y[np.abs(x) > abs(bound)].tolist() == [0.0] * int((np.abs(x) > abs(bound)).sum())
        line = next(line for line in right.get_lines() if line.get_label() == label)
        (x, after), (y, then) = ((v[:-1], v[1:]) for v in line.get_xydata().T)
        connected = np.isfinite(x) & np.isfinite(after)
        assert np.array_equal(y[connected], then[connected])


def test_every_line_looks_different() -> None:
    lines = leaky.plot([i / 40 for i in range(30)]).axes[0].get_lines()
    looks = {(line.get_color(), str(line.get_linestyle()), line._unscaled_dash_pattern) for line in lines[3:]}
    assert len(looks) == 30


def test_the_formula_is_written_with_its_numbers() -> None:
    left, right = leaky.plot(gain=1.5, clamp=6).axes
    for title, parts in ((left, ("1.5", "x > 0", r"x \leq 0", r"\pm 6")), (right, ("1.5", r"\alpha", "beyond"))):
        assert all(part in title.get_title() for part in parts)
    assert r"f(x)" in leaky.plot().axes[0].get_title()


@pytest.mark.parametrize("suffix", diagram.SUFFIXES)
def test_the_suffix_is_the_format_and_the_same_picture_the_same_file(suffix: str, tmp_path: Path) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix.upper()}"
    leaky.plot(gain=1.4, clamp=6, out=first)
    leaky.plot(gain=1.4, clamp=6, out=str(second))
    assert first.read_bytes().startswith(SIGNATURES[suffix])
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out": "leaky.jpg"}, r"\.svg, \.png, \.pdf, not '\.jpg'"),
        ({"out": "leaky"}, "not 'none'"),
        ({"slopes": ()}, r"one finite number or more, not \[\]"),
        ({"slopes": (float("inf"),)}, r"not \[inf\]"),
        ({"slopes": ("0.1",)}, "real number.*not '0.1'"),
        ({"gain": 0.0}, "gain must be a positive finite number, not 0.0"),
        ({"clamp": -1.0}, "clamp must be a positive number.*not -1.0"),
        ({"out": "no such folder/leaky.svg"}, "no such folder"),
    ],
)
def test_errors_name_what_came(
    arguments: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        leaky.plot(**arguments)
    assert not list(tmp_path.iterdir())


def test_a_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'leaky\[plot\]'"):
        leaky.plot()


def test_pyplot_and_torch_stay_out() -> None:
    code = (
        "import sys, matplotlib, leaky; before = matplotlib.rcParams.copy(); leaky.plot();"
        "assert not {'matplotlib.pyplot', 'torch'} & set(sys.modules); assert matplotlib.rcParams.copy() == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
