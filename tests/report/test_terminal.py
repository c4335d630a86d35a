"""The report on a terminal: at any width, in any encoding, with any name."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console
from tests.records import normal, record_from, site_from

from leaky.diagnosis import Diagnosis, diagnose
from leaky.report.drawing import as_text
from leaky.report.rows import headline, shares, site_rows
from leaky.report.terminal import TerminalReport, cells_of


def text(diagnosis: Diagnosis, width: int = 80, encoding: str = "utf-8") -> str:
    return as_text(TerminalReport(diagnosis), width, encoding)


def test_the_first_line_is_the_verdict(diagnosis: Diagnosis) -> None:
    assert text(diagnosis, 200).splitlines()[0] == (
        "Of 128 units at 4 sites: 9 dead (7%), 2 locked, 9 silent so far (too few samples to call them dead). "
        "Most at body.1."
    )


def test_a_healthy_network_is_told_so() -> None:
    assert headline(diagnose(record_from(site_from(normal(2000, 8), 0.01)))) == (
        "No dead and no locked unit among 8 units at 1 site."
    )


def test_what_was_not_proven_is_not_in_the_verdict() -> None:
    few = diagnose(record_from(site_from(normal(50, 8), 0.01)))
    assert headline(few) == "No dead unit among 8 units at 1 site."
    assert few.confidence.startswith("None is dead")


def test_values_that_are_not_finite_are_no_clean_bill() -> None:
    z = normal(2000, 8)
    z[3, :2] = np.nan
    assert headline(diagnose(record_from(site_from(z, 0.01)))) == (
        "Of 8 units at 1 site: 2 with NaN or infinite values. Most at site."
    )


def test_nothing_examined_is_told_so_with_what_was_not() -> None:
    shown = text(diagnose(record_from()))
    assert shown.startswith("Nothing could be examined")
    assert "dead" not in shown.splitlines()[-1]


def test_noise_is_named_in_the_verdict(diagnosis: Diagnosis) -> None:
    noisy = replace(diagnosis, record=replace(diagnosis.record, on_noise=True))
    assert "units at 4 sites on noise: 9 dead" in headline(noisy)


def test_each_site_has_its_row(diagnosis: Diagnosis) -> None:
    lines = text(diagnosis, 140).splitlines()
    dead = next(line for line in lines if line.startswith("body.1 ReLU"))
    assert re.search(r"ReLU +32 ▏.{10}▕ +9 +2 +3 +0.44% +−4…4 +1$", dead)
    unproven = next(line for line in lines if line.startswith("body.2 ReLU"))
    assert re.search(r"\+9\? +0 +", unproven)
    assert any("PReLU(−0.5…0.25) (output)" in line for line in lines)


def test_a_unit_counts_once(diagnosis: Diagnosis) -> None:
    total = shares(site_rows(diagnosis))
    assert (total.dead, total.units) == (9, 128)
    assert total.units == diagnosis.record.units


@pytest.mark.parametrize("width", [40, 80, 100, 160])
def test_no_line_is_wider_than_the_terminal(nasty: Diagnosis, width: int) -> None:
    assert max(cell_len(line) for line in text(nasty, width).splitlines()) <= width


@pytest.mark.parametrize("width", [40, 56, 72, 100])
def test_every_site_keeps_its_name_and_its_dead(diagnosis: Diagnosis, width: int) -> None:
    lines = text(diagnosis, width).splitlines()
    assert any(re.match(r"site +.*never → always +dead +locked", line) for line in lines)
    assert any(re.match(r"body\.1.*▏.{10}▕ +9 +2", line) for line in lines)


@pytest.mark.parametrize("width", [80, 160])
def test_nothing_is_lost_in_a_narrow_table(diagnosis: Diagnosis, width: int) -> None:
    shown = re.sub(r"\s", "", as_text(TerminalReport(diagnosis, full=True), width))
    assert diagnosis.findings
    for finding in diagnosis.findings:
        assert re.sub(r"\s", "", finding.message) in shown
        assert re.sub(r"\s", "", finding.advice) in shown
    assert "–" not in shown.split("never")[0]


def test_names_cannot_steer_the_terminal(nasty: Diagnosis) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=200, force_terminal=True, color_system="truecolor", _environ={})
    console.print(TerminalReport(nasty))
    written = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert "[31m" in written, "the name's own escape is spelled out"
    assert not set("\x1b\r\u202e\ud800") & set(written)
    assert "[bold red]" in written
    written.encode()


def test_plain_text_has_no_escape(nasty: Diagnosis) -> None:
    assert "\x1b" not in text(nasty)
    text(nasty).encode()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_a_terminal_that_knows_only_ascii_gets_ascii(nasty: Diagnosis, encoding: str) -> None:
    shown = text(nasty, 80, encoding)
    assert shown.isascii()
    assert "|" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    "counts", [(0, 0, 0, 0, 10), (1, 0, 0, 0, 100_000), (5, 5, 5, 5, 5), (1, 1, 1, 1, 0), (10, 0, 0, 0, 0)]
)
@pytest.mark.parametrize("width", [10, 80])
def test_the_bar_fills_the_width_and_shows_every_state(counts: tuple[int, ...], width: int) -> None:
    from leaky.report.rows import Shares

    cells = cells_of(Shares(*counts), width)
    assert sum(cells) == width
    assert [cell > 0 for cell in cells] == [count > 0 for count in counts]


def test_a_site_without_samples_is_shown() -> None:
    shown = text(diagnose(record_from(site_from(normal(0, 3), 0.0, name="cold"))))
    assert re.search(r"cold ReLU +3 no samples +0 +0 +0 +–", shown)


def test_piped_output_is_plain(capsys: pytest.CaptureFixture[str], diagnosis: Diagnosis, monkeypatch: Any) -> None:
    from leaky.report.drawing import show

    monkeypatch.delenv("FORCE_COLOR", raising=False)
    show(TerminalReport(diagnosis))
    assert "\x1b" not in capsys.readouterr().out


def test_no_color_is_respected_on_a_terminal(diagnosis: Diagnosis) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, _environ={"NO_COLOR": "1", "TERM": "xterm-256color"})
    console.print(TerminalReport(diagnosis))
    assert not re.search(r"\x1b\[[0-9;]*(3|4|9)\d[;m]", stream.getvalue()), "no colour, bold and dim at most"
