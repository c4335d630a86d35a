"""Nothing that was computed is lost, whatever becomes of stdout, of a file, or of what the user's code prints."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import leaky
from leaky.commands import run
from leaky.commands.output import written_first

CODE = """
import os
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

def objective(negative_slope, seed, report):
    os.write(1, b"past Python\\n")
    return float(negative_slope) + seed % 3 * 1e-3
"""

VERBS = {
    "check": ["check", "loud.py:net", "--data", "x.npy", "--json", "a.json", "--fail-on", "never"],
    "compare": ["compare", "old.json", "old.json", "--json", "a.json"],
    "repair": ["repair", "loud.py:net", "--data", "x.npy", "--weights", "sick.pt", "--out", "a.pt"],
    "slope": ["slope"],
    "tune": ["tune", "loud.py:objective", "--slopes", "0", ".1", "--seeds", "3", "--json", "a.json"],
}
WRITES = {"check": "a.json", "compare": "a.json", "repair": "a.pt", "slope": "x.npy", "tune": "a.json"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loud")
    (folder / "loud.py").write_text(CODE)
    np.save(folder / "x.npy", np.random.default_rng(0).standard_normal((1500, 4)).astype(np.float32))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        net[0].bias[:3] = -50
    torch.save(net.state_dict(), folder / "sick.pt")
    leaky.check(net, torch.randn(1500, 4)).save(folder / "old.json")
    return folder


@pytest.fixture(autouse=True)
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for file in made.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    yield
    sys.modules.pop("loud", None)


def broken() -> int:
    read, write = os.pipe()
    os.close(read)
    return write


def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("verb", VERBS)
def test_a_reader_that_goes_away_costs_nothing(
    verb: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with os.fdopen(broken(), "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert run(VERBS[verb]) == 0
    assert Path(WRITES[verb]).stat().st_size
    assert "Error" not in capfd.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_stdout_is_one_line_and_the_file_is_there(
    verb: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with os.fdopen(full(), "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert run(VERBS[verb]) == 2
    assert Path(WRITES[verb]).stat().st_size
    assert "Error: the standard output must be writable: No space left on device" in capfd.readouterr().err


@pytest.mark.parametrize("verb", ["check", "compare", "tune"])
def test_a_file_that_cannot_be_written_is_kept_elsewhere_and_the_report_comes(
    verb: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run([argument.replace("a.json", "/dev/full") for argument in VERBS[verb]]) == 2
    out, err = capfd.readouterr()
    assert out.strip()
    told, _, kept = err.splitlines()[-1].partition("; its content is in ")
    assert told == "Error: '/dev/full' must be writable: No space left on device"
    assert json.loads(Path(kept.strip("'")).read_text())


def test_json_has_stdout_to_itself_also_against_prints_from_c(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*VERBS["tune"][:-1], "-"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)
    assert "past Python" in err


@pytest.mark.parametrize("option", ["--out", "--recipe"])
def test_repair_tells_before_the_work_that_a_file_cannot_be_written(
    option: str, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["repair", "absent.py:net", "--data", "x.npy", "--out", "a.pt"]
    assert run([*arguments, option, "absent/a.pt"]) == 2
    assert "must be a file in a folder that exists" in capfd.readouterr().err


def test_safetensors_that_is_missing_is_told_before_the_work(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["repair", "absent.py:net", "--data", "x.npy", "--out", "a.safetensors"]) == 2
    assert "pip install 'leaky[safetensors]'" in capfd.readouterr().err


def test_the_body_of_written_first_runs_also_where_nothing_can_be_written() -> None:
    shown: list[str] = []

    def fails(path: str) -> None:
        raise leaky.errors.InputError(f"{path!r} must be writable")

    with pytest.raises(leaky.LeakyError, match=r"^'a' must be writable; 'b' must be writable$"):  # noqa: SIM117
        with written_first((("a", fails), ("b", fails))):
            shown.append("report")
    assert shown == ["report"]
