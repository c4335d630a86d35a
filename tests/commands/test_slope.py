"""`leaky slope`: the table, a depth, a model, and what a user can get wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaky import commands

MODEL = """
from torch import nn

def plain():
    return nn.Sequential(*(part for _ in range(50) for part in (nn.Linear(4, 4), nn.ReLU())))

def normalised():
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU())
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "nets.py"
    path.write_text(MODEL)
    return str(path)


def test_without_a_model_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.run(["slope"]) == 0
    text = capsys.readouterr().out
    assert "100  0.5704395311  0.4763312298" in text
    assert "10    0 (0.8715)    0 (0.8715)" in text


def test_a_depth_and_a_model_agree(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.run(["slope", "--depth", "50"]) == 0
    assert commands.run(["slope", f"{file}:plain"]) == 0
    first, second = capsys.readouterr().out.split("negative_slope 0.4305229")[1:]
    assert "a plain network of 50 layers" in first
    assert "nets.py:plain" in second


def test_a_target_out_of_reach_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.run(["slope", "--depth", "10", "--target", "0.9"]) == 0
    assert "only reach the correlation 0.871535516, below the target 0.9" in capsys.readouterr().out


def test_mistakes_end_in_a_line_and_status_2(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.run(["slope", f"{file}:normalised"]) == 2
    assert commands.run(["slope", f"{file}:plain", "--depth", "3"]) == 2
    assert commands.run(["slope", "--depth", "5", "--target", "1.5"]) == 2
    error = capsys.readouterr().err
    assert "native_batch_norm in 1 takes a mean over the samples away" in error
    assert "either MODEL or --depth" in error
    assert "1.5 is not in the range 0<x<1" in error
