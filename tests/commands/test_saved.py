"""`leaky check` of a saved document: shown without a model or data, and judged by --fail-on."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import leaky
from leaky.commands import run


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A run, its log and a checkup of a network that is dead from the start."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x = torch.randn(64, 4)
    with (
        warnings.catch_warnings(),
        leaky.watch(model, optimizer, log=tmp_path / "run.jsonl", on_alarm=lambda alarm: None) as watch,
    ):
        for _ in range(30):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    watch.save(tmp_path / "run.json")
    leaky.check(model, torch.randn(1200, 4)).save(tmp_path / "checkup.json")
    return tmp_path


@pytest.mark.parametrize("name", ["run.json", "run.jsonl"])
def test_a_run_is_a_table_over_time(saved: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(saved / name), "--fail-on", "never"]) == 0
    out = capsys.readouterr().out
    assert "30 steps" in out
    assert "dead" in out
    assert run(["check", str(saved / name), "--fail-on", "warning"]) == 1, "its alarms are warnings or worse"


def test_a_checkup_is_the_report_that_it_was(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(saved / "checkup.json")]) == 1
    assert "8 dead (100%)" in capsys.readouterr().out


def test_a_model_still_needs_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "train.py:net"]) == 2
    assert "Missing option '--data'" in capsys.readouterr().err


def test_a_file_that_is_no_document_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert run(["check", str(tmp_path / "x.json")]) == 2
    assert "x.json" in capsys.readouterr().err
