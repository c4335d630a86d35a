"""`leaky page`, and the options of other verbs that write one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.page.networks import small

from leaky.checkup import Checkup
from leaky.commands import run

PARTS = {"index.html", "leaky.js", "leaky.css", "leaky-data.js"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "checkup.json"
    Checkup(small()).save(path)
    return path


def test_a_saved_checkup_becomes_a_page_beside_it(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["page", str(saved)]) == 0
    html = saved.with_suffix(".html").read_text("utf-8")
    assert html.startswith("<!doctype html>")
    assert "block2.relu1" in html
    assert "Wrote" in capsys.readouterr().err


def test_the_page_goes_where_it_is_told_to(saved: Path, tmp_path: Path) -> None:
    assert (
        run(["page", str(saved), "--out", str(tmp_path / "a.html"), "--html-dir", str(tmp_path / "new" / "parts")]) == 0
    )
    assert (tmp_path / "a.html").exists()
    assert {each.name for each in (tmp_path / "new" / "parts").iterdir()} == PARTS
    assert not saved.with_suffix(".html").exists()


def test_what_cannot_be_is_told_in_a_line(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.json").write_text("{}")
    for arguments in (
        ["no.json"],
        ["absent.json"],
        ["checkup.json", "--html-dir", "no.json"],
        ["checkup.json", "--out", "x/a.html"],
    ):
        given = [
            arguments[0],
            *(f"{tmp_path / each}" if "." in each or "/" in each else each for each in arguments[1:]),
        ]
        assert run(["page", str(tmp_path / given[0]), *given[1:]]) == 2
        assert capsys.readouterr().err.count("\n") <= 3


def test_compare_writes_its_page(saved: Path, tmp_path: Path) -> None:
    assert run(["compare", str(saved), str(saved), "--html", str(tmp_path / "c.html")]) == 0
    assert "It did not get worse." in (tmp_path / "c.html").read_text("utf-8")
