"""How commands end: by signals, by what user code raises, by mistakes; each with its status and one line."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from leaky.commands import run
from leaky.commands.ending import Status
from leaky.failures import is_internal, one_line

CODE = """
import asyncio, os, sys, time
import torch
from torch import nn

class Raising(nn.Module):
    error = None
    def forward(self, x):
        raise self.error

class Odd(Exception):
    def __str__(self):
        raise ValueError

def model(error):
    made = Raising()
    made.error = error
    return lambda: made

base, generator, leaves, cancelled, odd = map(
    model, (BaseException("mine"), GeneratorExit(), SystemExit(0), asyncio.CancelledError(), Odd())
)
class Sleeps(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)
    def forward(self, x):
        print("running", file=sys.stderr, flush=True)
        time.sleep(3600)

class Swallows(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)
    def forward(self, x):
        while True:
            try:
                print("running", file=sys.stderr, flush=True)
                time.sleep(3600)
            except BaseException:
                print("swallowed", file=sys.stderr, flush=True)

class Deaf(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)
    def forward(self, x):
        print("running", file=sys.stderr, flush=True)
        import ctypes
        libc = ctypes.CDLL(None)
        while libc.usleep(900000) or True:
            libc.sleep(3600)

def objective(negative_slope, seed, report):
    print("running", file=sys.stderr, flush=True)
    time.sleep(3600)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "hard.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    yield
    sys.modules.pop("hard", None)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("base", "BaseException: mine"),
        ("generator", "GeneratorExit"),
        ("cancelled", "CancelledError"),
        ("leaves", "ended the program while they ran (status 0)"),
        ("odd", "Odd: (its message could not be made)"),
    ],
)
def test_whatever_user_code_raises_is_one_line_and_status_2(
    name: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", f"hard.py:{name}", "--data", "noise:300x4"]) == Status.WRONG_INPUT
    out, err = capfd.readouterr()
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("verb", "number", "status", "line"),
    [
        (["check", "hard.py:Sleeps", "--data", "noise:300x4"], signal.SIGINT, 130, "Interrupted."),
        (["check", "hard.py:Sleeps", "--data", "noise:300x4"], signal.SIGTERM, 143, "Terminated."),
        (["check", "hard.py:Deaf", "--data", "noise:300x4"], signal.SIGTERM, 143, "Terminated."),
        (["tune", "hard.py:objective", "--slopes", "0", ".1"], signal.SIGTERM, 143, "Terminated."),
    ],
    ids=["Ctrl-C", "SIGTERM", "in compiled code", "a study"],
)
def test_a_signal_ends_what_would_go_on_for_an_hour(verb: list[str], number: int, status: int, line: str) -> None:
    with _running(verb) as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=300)  # and not the hour that the code sleeps
    assert err.splitlines()[-1] == line
    assert process.returncode == status


@pytest.mark.parametrize(
    ("number", "status", "line"),
    [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_that_a_destructor_swallows_comes_again(number: int, status: int, line: str) -> None:
    dies = f"class Dies:\n    def __del__(self):\n        os.kill(os.getpid(), {int(number)})\n        time.sleep(1)\n"
    Path("hard.py").write_text(f"{CODE}\n{dies}\nDies()\nprint('running', file=sys.stderr)\ntime.sleep(3600)\n")
    with _running(["check", "hard.py:Sleeps", "--data", "noise:300x4"]) as process:
        _, err = process.communicate(timeout=300)
    assert (err.splitlines()[-1], process.returncode) == (line, status)


def test_what_is_registered_for_the_end_runs_after_a_signal_too() -> None:
    code = CODE + "\nimport atexit\natexit.register(lambda: os.write(2, b'registered\\n'))\n"
    Path("hard.py").write_text(code)
    with _running(["check", "hard.py:Sleeps", "--data", "noise:300x4"]) as process:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=300)
    assert (err, process.returncode) == ("Terminated.\nregistered\n", 143)


def test_a_second_ctrl_c_ends_at_once_what_swallows_the_first() -> None:
    with _running(["check", "hard.py:Swallows", "--data", "noise:300x4"]) as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert [process.stderr.readline() for _ in range(2)] == ["swallowed\n", "running\n"]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    assert (err, process.returncode) == ("Interrupted.\n", 130)


SWALLOWS = """
import signal, sys
try:
    signal.raise_signal(signal.{number})
    x = 1
except BaseException:
    pass
del sys.modules["click"], sys.path[0]
import click
"""


@pytest.mark.parametrize("code", ["import signal\nsignal.raise_signal(signal.{number})\nx = 1\n", SWALLOWS])
@pytest.mark.parametrize(
    ("number", "status", "line"), [("SIGINT", 130, "Interrupted."), ("SIGTERM", 143, "Terminated.")]
)
def test_a_signal_while_the_command_line_is_imported_ends_like_any_other(
    folder: Path, number: str, status: int, line: str, code: str
) -> None:
    (folder / "click.py").write_text(code.format(number=number))
    ended = subprocess.run([sys.executable, "-m", "leaky", "--help"], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("", f"{line}\n", status)


def test_nothing_of_the_command_line_is_imported_before_signals_are_heard() -> None:
    code = "import sys, leaky.signals; print(sorted(n for n in sys.modules if n.split('.')[0] in ('leaky', 'click')))"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout
    assert seen == "['leaky', 'leaky.signals']\n"


@contextlib.contextmanager
def _running(verb: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "leaky", *verb], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == "running\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_an_error_of_our_own_has_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Compiled from a string, it has no file: it counts as leaky's own.
    monkeypatch.setattr("leaky.theory.tailored_slope", eval("lambda *_, **__: {}['own']", {}))
    assert run(["slope", "--depth", "5"]) == Status.INTERNAL
    assert "Error: leaky itself failed, please report it: KeyError: 'own'; at <string>:1" in capfd.readouterr().err


def test_errors_of_user_code_are_not_internal() -> None:
    def theirs() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError) as caught:
        theirs()
    assert not is_internal(caught.value)
    with pytest.raises(FileNotFoundError) as absent:
        Path("absent").stat()
    assert not is_internal(absent.value)
    assert one_line(caught.value).startswith("KeyError: 'x'; at ")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def f(:\n", "'wrong.py' is not in line 1: invalid syntax `def f(:`"),
        ("x = 1\n  y = 2\n", "'wrong.py' is not in line 2: unexpected indent `y = 2`"),
        ("import other\n", "'other.py' is not in line 2: "),
    ],
)
def test_a_syntax_error_names_file_and_line(source: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path("wrong.py").write_text(source)
    Path("other.py").write_text("\nx = = 1\n")
    assert run(["check", "wrong.py:net", "--data", "noise:3x4"]) == Status.WRONG_INPUT
    err = capfd.readouterr().err
    assert words in err
    assert "LEAKY_DEBUG" not in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "hard.py:Sleeps", "--data", "noise:9223372036854775807x8"], "must have at most 1,099,511,627,776"),
        (["check", "hard.py:Sleeps", "--data", "noise:99999999999999999999x8"], "must have at most 1,099,511,627,776"),
        (["check", "hard.py:Sleeps", "--data", f"noise:{'9' * 5000}x8"], "noise must have a shape like"),
        (["check", "hard.py:Sleeps", "--data", "noise:8x99999999999"], "must have at most"),
        (["check", "hard.py:Sleeps", "--data", "noise:2x2", "--seed", str(2**64)], "is not in the range 0<=x<=9223372"),
        (["check", "hard.py:Sleeps", "--data", "noise:2x2", "--set", "max_samples=10"], "is no threshold"),
        (["check", "hard.py:Sleeps", "--data", "noise:2x2", "--set", "dormant_scor=1"], "did you mean dormant_score"),
        (["check", "hard.py:Sleeps", "--data", "noise:2x2", "--set", "seed=1"], "'seed' is no threshold"),
        (["check", "hard.py:Sleeps", "--data", "noise:2x2", "--batch-size", str(10**30)], "is not in the range"),
        (["check", "hard.py:Sleeps", "--data", "noise:2x2", "--unit-dim", str(10**30)], "is not in the range"),
        (["check", "hard.py:Sleeps", "--data", "noise:2x2", "--batch-dim", "9" * 40], "must be an axis from -64 to 63"),
        (["slope", "--depth", "99999999999999999999"], "is not in the range 1<=x<=100000"),
        (["slope", "--depth", "5", "--target", "nan"], "is not in the range|is not a finite number"),
        (["plot", "--out", "a.svg", "--clamp", "inf"], "'inf' is not a finite number"),
        (["plot", "--out", "a.svg", "--gain", "nan"], "is not"),
        (["tune", "hard.py:objective", "--time-limit", "nan"], "is not"),
        (["tune", "hard.py:objective", "--seeds", "99999999999"], "is not in the range 1<=x<=100000"),
        (["tune", "hard.py:objective", "--search", "0", "inf"], "'inf' is not a finite number"),
        (["tune", "hard.py:objective", "--storage", "/dev/full"], "storage '/dev/full' must be a regular file"),
        (["repair", "hard.py:Sleeps", "--data", "noise:2x2", "--dry-run", "--max-change", "nan"], "is not"),
    ],
)
def test_what_cannot_be_is_refused_at_once(arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == Status.WRONG_INPUT
    out, err = capfd.readouterr()
    assert out == ""
    assert any(each in err for each in words.split("|"))
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith("Error: ")]) == 1
    assert max(map(len, err.splitlines())) < 400
