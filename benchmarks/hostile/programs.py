"""Programs of their own: signals, studies whose objectives kill them, readers that go away."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.hostile.situation import Situation

CODE = """
import os, signal, sys, time
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

class Sleeps(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)
    def forward(self, x):
        print("running", file=sys.stderr, flush=True)
        time.sleep(60)

def fine(negative_slope, seed, report):
    return float(negative_slope) + seed * 7 % 5 * 1e-3

def deadly(how):
    def objective(negative_slope, seed, report):
        if negative_slope == 0.1:
            how()
        return fine(negative_slope, seed, report)
    return objective

exits = deadly(lambda: os._exit(0))
fails = deadly(lambda: os._exit(1))
segfaults = deadly(lambda: os.kill(os.getpid(), signal.SIGSEGV))
aborts = deadly(os.abort)
killed = deadly(lambda: os.kill(os.getpid(), signal.SIGKILL))
leaves = deadly(lambda: sys.exit(0))
hangs = deadly(lambda: time.sleep(1000))
def exits_in_workers(negative_slope, seed, report):
    return exits(negative_slope, seed, report)
"""
PROMISED = 1.0
"""Seconds in which a signal ends a command, as docs/support.md has it."""
TRIES = 3
"""Of a signal, the fastest of which counts: on a busy machine processors are shared and slower, never faster."""
LONGEST = 600.0
"""Seconds on the clock after which a machine is not busy but the command hangs."""
ENDS = ("exits", "fails", "segfaults", "aborts", "killed", "leaves")


def situations() -> Iterator[Situation]:
    """Each takes a second or more."""
    for name in ENDS:
        yield Situation("studies", f"an objective that {name}", _study(name))
    yield Situation("studies", "workers that die together", _study("exits_in_workers", "--workers", "2"))
    yield Situation("studies", "an objective that hangs", _study("hangs", "--time-limit", "3", ended=False))
    for delay in (0.0, 0.05, 0.3, 0.6, 1.0, None):
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            when = "while the model runs" if delay is None else f"{delay} s after leaky begins to hear"
            yield Situation("signals", f"{number.name} {when}", _signal(number, status, delay))
    for verb in (["check", "user.py:net", "--data", "noise:3000x4"], ["slope"], ["--help"], ["tune", "user.py:fine"]):
        yield Situation("signals", f"nobody reads what {verb[0]} prints", _unread(verb))


def _start(folder: Path, *arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    (folder / "user.py").write_text(CODE)
    return subprocess.Popen(
        [sys.executable, "-m", "leaky", *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=folder
    )


def _study(name: str, *options: str, ended: bool = True) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        slopes = ("--slopes", "0", ".05", ".1", "--seeds", "3")
        process = _start(folder, "tune", f"user.py:{name}", *slopes, "--json", "-", *options)
        out, err = process.communicate(timeout=LONGEST)
        assert process.returncode == 0, (process.returncode, err[-300:])
        trials = json.loads(out)["trials"]
        assert any(trial["slope"] == "0.1" for trial in trials) == ended
        assert all(trial["score"] is None for trial in trials if trial["slope"] == "0.1")

    return run


def _signal(number: signal.Signals, status: int, delay: float | None) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        took = [_interrupted(folder, number, status, delay)]
        while min(took) >= PROMISED and len(took) < TRIES:
            took.append(_interrupted(folder, number, status, delay))
        shown = ", ".join(f"{seconds:.2f} s" for seconds in took)
        assert min(took) < PROMISED, f"{shown}, less those in which it, or what measures it, waited for a processor"

    return run


def _interrupted(folder: Path, number: signal.Signals, status: int, delay: float | None) -> float:
    """Seconds that a command takes to end after a signal, as `_took_to_end` counts them; its status and words hold."""
    process = _start(folder, "check", "user.py:Sleeps", "--data", "noise:300x4", stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    if delay is None:
        assert process.stderr.readline() == "running\n"
    else:  # before leaky's own first line a signal is Python's
        while not _hears(process.pid):
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(delay)
    took = _took_to_end(process, number)
    err = process.stderr.read()
    assert process.returncode == status, (process.returncode, err[-300:])
    assert err.splitlines()[-1] in ("Interrupted.", "Terminated."), err[-300:]
    return took


def _took_to_end(process: subprocess.Popen[str], number: signal.Signals) -> float:
    """Seconds from a signal to the end of a process, without those in which it, or this one, waited for a processor.

    On a machine that has nothing else to do that is the time on the clock; on a busy one, the time that the process was
    given. What it spent computing counts in any case. Where Linux's /proc is missing it is the time on the clock.
    """
    queued, here = _queued(process.pid), sum(_queued(os.getpid()).values())
    before, began = _computed(process.pid), time.monotonic()
    process.send_signal(number)
    latest = dict(queued)
    computed = before
    while process.poll() is None:
        latest |= _queued(process.pid)
        computed = max(computed, _computed(process.pid))
        assert time.monotonic() < began + LONGEST, "it did not end"
        time.sleep(0.002)
    took = time.monotonic() - began
    waited = sum(latest.values()) - sum(queued.get(thread, 0.0) for thread in latest)
    waited += sum(_queued(os.getpid()).values()) - here
    return max(took - waited, computed - before)


def _queued(pid: int) -> dict[str, float]:
    """Seconds in which each thread of a process could have run and had no processor."""
    found = {}
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, IndexError):  # it has ended
            found[thread.parent.name] = int(thread.read_text().split()[1]) * 1e-9
    return found


def _computed(pid: int) -> float:
    """Seconds of processor time of all threads of a process."""
    try:
        after_the_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(after_the_name[11]) + int(after_the_name[12])) / os.sysconf("SC_CLK_TCK")


def _hears(pid: int) -> bool:
    """Whether the process handles SIGTERM, which Python by itself does not; always where Linux's /proc is missing."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def _unread(verb: list[str]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        process = _start(folder, *verb, stdout=writing)
        os.close(writing)
        _, err = process.communicate(timeout=LONGEST)
        assert process.returncode in (0, 1), (process.returncode, err[-300:])
        assert "rror" not in err, err[-300:]

    return run
