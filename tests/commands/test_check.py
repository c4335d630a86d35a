"""The command line: what it takes, what it prints where, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

import leaky
from leaky.commands import Status, run
from leaky.documents import schema

NET = """
import os
import torch
from torch import nn

def build(shift=0.0):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 4))
    with torch.no_grad():
        net[0].bias[:14] -= shift
    return net

def sick():
    print("users print things")
    return build(100.0)

def needs(width):
    pass

class Plain(nn.Linear):
    def __init__(self):
        super().__init__(4, 2)

class Broken(nn.Module):
    def forward(self, x):
        print("forward")
        return torch.relu(x) @ torch.zeros(3, 3)

class Exits(nn.Module):
    def forward(self, x):
        raise SystemExit(0)

def leaves():
    raise SystemExit(0)

class Writes(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 16), nn.ReLU())
        os.write(1, b"past Python")

class Stops(nn.Module):
    def forward(self, x):
        raise KeyboardInterrupt

def batches():
    for _ in range(4):
        yield torch.randn(300, 4), torch.zeros(300)
"""

Runner = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delenv("LEAKY_DEBUG", raising=False)
    (tmp_path / "cli_net.py").write_text(NET)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((1500, 4)))
    yield tmp_path
    sys.modules.pop("cli_net", None)


@pytest.fixture
def leaky_run(capfd: pytest.CaptureFixture[str]) -> Runner:
    def call(*arguments: str) -> tuple[int, str, str]:
        status = run(arguments)
        out, err = capfd.readouterr()
        return status, out, err

    return call


@pytest.mark.parametrize(
    ("model", "fail_on", "status"),
    [
        ("cli_net.py:build", "error", Status.OK),
        ("cli_net.py:sick", "error", Status.FOUND),
        ("cli_net:sick", "info", Status.FOUND),
        ("cli_net.py:sick", "never", Status.OK),
        ("cli_net.py:Plain", "info", Status.NOTHING_EXAMINED),
        ("cli_net.py:absent", "info", Status.WRONG_INPUT),
    ],
)
def test_exit_status(leaky_run: Runner, model: str, fail_on: str, status: Status) -> None:
    assert leaky_run("check", model, "--data", "x.npy", "--fail-on", fail_on)[0] == status


def test_the_report_goes_to_stdout_and_nothing_else_anywhere(leaky_run: Runner) -> None:
    _, out, err = leaky_run("check", "cli_net.py:build", "--data", "x.npy")
    assert "cli_net.py:build · 1,500 samples of x.npy · eval mode" in out
    assert "\x1b" not in out
    assert err == ""


def test_json_to_stdout_is_alone_there(leaky_run: Runner) -> None:
    status, out, err = leaky_run("check", "cli_net.py:sick", "--data", "x.npy", "--json", "-")
    written = json.loads(out)
    jsonschema.Draft202012Validator(schema()).validate(written)
    assert written["sites"][0]["dead"] == list(range(14))
    assert (written["model"], written["data"]) == ("cli_net.py:sick", "x.npy")
    assert "users print things" in err
    assert status == Status.FOUND


def test_json_stays_alone_when_something_writes_past_python(leaky_run: Runner) -> None:
    _, out, err = leaky_run("check", "cli_net.py:Writes", "--data", "x.npy", "--json", "-")
    assert json.loads(out)["sites"][0]["units"] == 16
    assert "past Python" in err


def test_code_that_ends_the_program_never_passes(leaky_run: Runner) -> None:
    status, out, err = leaky_run("check", "cli_net.py:leaves", "--data", "x.npy")
    assert (status, out) == (Status.WRONG_INPUT, "")
    assert err == "Error: code of the model or the data ended the program (status 0)\n"


def test_comparing_what_has_nothing_in_common_is_no_pass(leaky_run: Runner) -> None:
    leaky_run("check", "cli_net.py:build", "--data", "x.npy", "--json", "old.json")
    leaky_run("check", "cli_net.py:Plain", "--data", "x.npy", "--json", "new.json")
    status, out, _ = leaky_run("compare", "old.json", "new.json")
    assert status == Status.NOTHING_EXAMINED
    assert out.startswith("Nothing could be compared: no site is in both.")


def test_json_to_a_file_comes_beside_the_report(leaky_run: Runner, folder: Path) -> None:
    _, out, err = leaky_run("check", "cli_net.py:sick", "--data", "x.npy", "--json", "a.json")
    assert "14 dead" in out
    assert err == "users print things\nWrote a.json\n"
    assert leaky.load(folder / "a.json").verdicts["1"].dead == tuple(range(14))


def test_options_arrive(leaky_run: Runner) -> None:
    _, out, _ = leaky_run(
        *("check", "cli_net.py:build", "--data", "cli_net.py:batches", "--json", "-", "--mode", "train"),
        *("--max-samples", "700", "--seed", "5", "--set", "dormant_score=0.3", "--set", "delta=.1"),
    )
    written = json.loads(out)
    assert (written["samples"], written["mode"], written["seed"]) == (700, "train", 5)
    assert (written["thresholds"]["dormant_score"], written["thresholds"]["delta"]) == (0.3, 0.1)


def test_batches_are_cut_as_told(leaky_run: Runner) -> None:
    _, out, _ = leaky_run("check", "cli_net.py:build", "--data", "x.npy", "--batch-size", "100", "--json", "-")
    assert json.loads(out)["batches"] == 15
    _, out, _ = leaky_run("check", "cli_net.py:build", "--data", "x.npy", "--sample-dim", "none", "--json", "-")
    assert (json.loads(out)["batches"], json.loads(out)["samples"]) == (1, 1)


def test_rules_can_be_ignored(leaky_run: Runner) -> None:
    assert leaky_run("check", "cli_net.py:sick", "--data", "x.npy", "--ignore", "dead")[0] == Status.OK


def test_verbose_shows_every_finding(leaky_run: Runner, folder: Path) -> None:
    arguments = ("check", "cli_net.py:sick", "--data", "x.npy", "--json", "a.json", "--set", "lost_info=0.1")
    brief, full = leaky_run(*arguments)[1], leaky_run(*arguments, "--verbose")[1]
    findings = leaky.load(folder / "a.json").findings
    assert full.count("→ ") == len(findings) + 1  # and one in the table's head
    assert brief.count("→ ") < full.count("→ ")


def test_noise_is_told_in_every_verdict(leaky_run: Runner) -> None:
    _, out, _ = leaky_run("check", "cli_net.py:sick", "--data", "noise:1500x4", "--json", "-")
    written = json.loads(out)
    assert written["on_noise"] is True
    assert written["findings"]
    assert all("noise" in finding["message"] for finding in written["findings"] if finding["site"])
    again = leaky_run("check", "cli_net.py:sick", "--data", "noise:1500x4", "--json", "-")[1]
    assert json.loads(again) == written


def test_weights_and_initial_weights(leaky_run: Runner, folder: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    torch.save(net.state_dict(), folder / "first.pt")
    with torch.no_grad():
        net[0].bias -= 100
    torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, folder / "last.pt")
    _, out, _ = leaky_run(
        *("check", "cli_net.py:build", "--data", "x.npy", "--json", "-"),
        *("--weights", "last.pt", "--initial", "first.pt"),
    )
    written = json.loads(out)
    assert written["sites"][0]["dead"] == list(range(16))
    assert written["initial"]["sites"][0]["silent"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "cli_net.py:build"), "Missing option '--data'"),
        (("check", "cli_net.py:needs", "--data", "x.npy"), "must be callable without arguments, not with (width)"),
        (("check", "cli_net.py:build", "--data", "absent.npy"), "DATA 'absent.npy' must be a file; there is none"),
        (("check", "cli_net.py:build", "--data", "x.npy", "--weights", "no.pt"), "there is none at 'no.pt'"),
        (("check", "cli_net.py:build", "--data", "noise:3"), "Error: RuntimeError: "),
        (("check", "cli_net.py:build", "--data", "x.npy", "--set", "delta"), "'delta' is not NAME=NUMBER"),
        (
            ("check", "cli_net.py:build", "--data", "x.npy", "--set", "nope=1"),
            "'nope' is no threshold",
        ),
        (("check", "cli_net.py:build", "--data", "x.npy", "--ignore", "nope"), "nope"),
        (("check", "cli_net.py:build", "--data", "x.npy", "--sample-dim", "one"), "neither a whole number nor none"),
        (
            ("check", "cli_net.py:build", "--data", "x.npy", "--json", "absent/a.json"),
            "--json must be a file in a folder",
        ),
        (("check", "cli_net.py:build", "--data", "x.npy", "--json", "."), "--json must be a file in a folder"),
        (("check", "cli_net.py:build", "--data", "x.npy", "--device", "abacus"), "abacus"),
        (("compare", "absent.json", "x.npy"), "'absent.json' must be a readable file: No such file"),
        (("compare", "x.npy", "x.npy"), "'x.npy' must be JSON that leaky wrote"),
        (("plot", "--slopes", "--out", "a.svg"), "--slopes"),
        (("check", "cli_net.py:Exits", "--data", "x.npy"), "ended the program while they ran (status 0)"),
        (("frob",), "No such command 'frob'"),
    ],
)
def test_a_mistake_gets_one_clear_line_and_status_2(
    leaky_run: Runner, arguments: tuple[str, ...], message: str
) -> None:
    status, out, err = leaky_run(*arguments)
    assert status == Status.WRONG_INPUT
    assert message in err
    assert out == ""
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith("Error: ")]) == 1


def test_an_error_in_the_model_names_its_line_and_the_data(leaky_run: Runner) -> None:
    status, out, err = leaky_run("check", "cli_net.py:Broken", "--data", "x.npy", "--json", "-")
    assert status == Status.WRONG_INPUT
    assert out == ""
    assert err.splitlines()[-1].endswith(
        "in forward: `return torch.relu(x) @ torch.zeros(3, 3)`; the data are float64 of shape (1500, 4)"
        " (LEAKY_DEBUG=1 shows the traceback)"
    )


def test_debugging_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAKY_DEBUG", "1")
    with pytest.raises(leaky.LeakyError, match="cannot be multiplied") as caught:
        run(["check", "cli_net.py:Broken", "--data", "x.npy"])
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_interruption_is_no_finding(leaky_run: Runner) -> None:
    status, _, err = leaky_run("check", "cli_net.py:Stops", "--data", "x.npy")
    assert (status, err.strip()) == (Status.INTERRUPTED, "Interrupted.")


def test_compare_is_a_gate(leaky_run: Runner) -> None:
    for name, model in (("good", "build"), ("bad", "sick")):
        leaky_run("check", f"cli_net.py:{model}", "--data", "x.npy", "--json", f"{name}.json")
    status, out, _ = leaky_run("compare", "good.json", "bad.json")
    assert status == Status.FOUND
    assert out.startswith("It got worse")
    status, out, _ = leaky_run("compare", "bad.json", "good.json")
    assert status == Status.OK
    assert out.startswith("It did not get worse")
    status, out, _ = leaky_run("compare", "good.json", "bad.json", "--json", "-")
    assert json.loads(out)["worse"] is True


def test_plot_passes_its_options_on(leaky_run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from leaky.activation import diagram

    seen: dict[str, Any] = {}
    monkeypatch.setattr(diagram, "plot", lambda slopes, **options: seen.update(slopes=tuple(slopes), **options))
    status, _, err = leaky_run("plot", "--slopes", "0", "-.1", ".3", "--gain", "2", "--clamp", "6", "--out", "a.svg")
    assert (status, err) == (Status.OK, "Wrote a.svg\n")
    assert seen == {"slopes": (0.0, -0.1, 0.3), "gain": 2.0, "clamp": 6.0, "out": "a.svg"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "leaky", *arguments]


def test_python_m_leaky_and_the_version() -> None:
    done = subprocess.run(command("--version"), capture_output=True, text=True, check=True)
    assert done.stdout == f"leaky, version {leaky.__version__}\n"


def test_help_tells_the_exit_statuses() -> None:
    done = subprocess.run(command("check", "--help"), capture_output=True, text=True, check=True)
    for status in ("0  no finding at or above --fail-on", "2  wrong usage or input", "3  nothing could be examined"):
        assert status in done.stdout
    assert done.stdout.isascii()


def test_a_terminal_without_unicode_gets_ascii() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command("check", "cli_net.py:sick", "--data", "x.npy"), capture_output=True, env=environment)
    assert done.returncode == Status.FOUND
    assert done.stdout.isascii()
    assert b"14 dead" in done.stdout


def test_a_reader_that_leaves_early_is_no_error() -> None:
    first = subprocess.Popen(
        command("check", "cli_net.py:sick", "--data", "x.npy"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert first.stdout is not None
    first.stdout.close()
    _, err = first.communicate(timeout=120)
    assert err == b"users print things\n"
    assert first.returncode == Status.FOUND, "the status of the check, whoever reads"


@pytest.mark.parametrize("colour", [True, False])
def test_a_terminal_sees_progress_and_colour(colour: bool) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"} | ({} if colour else {"NO_COLOR": "1"})
    done = subprocess.Popen(
        command("check", "cli_net.py:sick", "--data", "noise:20000x4"), stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert done.wait(timeout=120) == Status.FOUND
    assert b"Observing" in shown
    assert (b"\x1b[31m" in shown) == colour


def test_a_whole_population_needs_no_bound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef net():\n    m = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))\n"
        "    nn.init.constant_(m[0].bias, -100.0)\n    return m\n"
    )
    command = ["check", f"{tmp_path / 'net.py'}:net", "--data", "noise:12x3", "--seed", "1", "--fail-on", "never"]
    assert run(command) == 0
    assert "silent so far" in capsys.readouterr().out
    assert run([*command, "--population"]) == 0
    assert "4 dead" in capsys.readouterr().out


def test_rows_of_one_group_are_one_sample(leaky_run: Runner, folder: Path) -> None:
    (folder / "cli_groups.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__(); self.layer = nn.Sequential(nn.Linear(4, 5), nn.ReLU())\n"
        "    def forward(self, x):\n        return self.layer(x)\n"
        "batches = [{'x': torch.randn(30, 4), 'patient': torch.arange(30) // 3} for _ in range(2)]\n"
    )
    for words, samples in ((("--groups", "patient"), 20), (("--groups", "none"), 60), ((), 60)):
        given = ("check", "cli_groups.py:Net", "--data", "cli_groups.py:batches", "--json", "-", *words)
        document = json.loads(leaky_run(*given)[1])
        assert document["sites"][0]["samples"] == samples
