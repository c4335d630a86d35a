"""Arguments that cannot be, code of the user's that raises anything, and where results are written."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.hostile.situation import Situation, command

CODE = """
import torch
from torch import nn
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
class Raising(nn.Module):
    def forward(self, x):
        raise ERROR
"""
ERRORS = (
    "BaseException('x')", "GeneratorExit()", "SystemExit(0)", "SystemExit('x' * 9999)", "KeyError(3)",
    "StopIteration()",
    "RecursionError('x')", "MemoryError()", "UnicodeDecodeError('utf8', b'x', 0, 1, 'y')", "Exception('\\x1b[31m' * 9)",
    "Exception('a\\nb')", "Exception('x' * 10**6)", "AssertionError()", "StopAsyncIteration()", "ExceptionOdd()",
)  # fmt: skip
CHECK = ("check", "user.py:net", "--data", "noise:300x4")
REFUSED: tuple[tuple[str, ...], ...] = (
    *(("check", "user.py:net", "--data", f"noise:{shape}") for shape in (
        "9223372036854775807x8", "99999999999999999999x8", "9" * 5000 + "x8", "8x99999999999", "0x4", "-1x4", "", "x",
        "4x", "1e3x4", "٣x4", "3x" * 100 + "3", "inf", "nan x4",
    )),
    *((*CHECK, "--seed", value) for value in (str(2**64), "-1", "1.5", "x", "9" * 5000, "nan")),
    *((*CHECK, "--batch-size", value) for value in ("0", "-1", str(10**30), "x")),
    *((*CHECK, "--max-samples", value) for value in ("0", "-1", str(10**30), "inf")),
    *((*CHECK, "--unit-dim", value) for value in (str(10**30), "x", "-99")),
    *((*CHECK, "--sample-dim", value) for value in (str(10**30), "x", "-99", "9" * 5000)),
    *((*CHECK, "--set", value) for value in (
        "max_samples=10", "seed=1", "delta", "delta=", "delta=x", "delta=nan", "delta=inf", "delta=-1", "=1", "",
        "mode=train", "dormant_scor=1", "\x1b[31m=1", "a" * 5000 + "=1",
    )),
    *((*CHECK, "--ignore", value) for value in ("nope", "", "\x1b[31m")),
    *((*CHECK, "--mode", value) for value in ("", "test")),
    *((*CHECK, "--device", value) for value in ("abacus", "cuda:99", "", "meta:9")),
    *((*CHECK, "--weights", value) for value in ("absent.pt", ".", "user.py", "/dev/null")),
    *((*CHECK, "--json", value) for value in ("absent/a", ".", "", "a\0b", "x" * 300, "user.py/a")),
    *(("check", name, "--data", "noise:3x4") for name in (
        "user.py", "user.py:", ":net", "user.py:absent", "absent.py:net", "absent:net", "user:net.x", "os:path", "",
        "a.onnx", "a.pt", "user.py:torch", "\x1b[31m:x", "..:x", "user.py:net:net",
    )),
    *(("check", "user.py:net", "--data", name) for name in (
        "absent.npy", ".", "user.py:net", "user.py:absent", "/dev/null", "a.csv", "", "user.py:torch", "\x1b.npy",
    )),
    *(("slope", "--depth", value) for value in ("0", "-1", str(10**20), "x", "nan")),
    *(("slope", "--depth", "5", "--target", value) for value in ("nan", "inf", "0", "1", "-1", "x")),
    *(("plot", "--out", "a.svg", "--clamp", value) for value in ("inf", "nan", "0", "-1", "x")),
    *(("plot", "--out", "a.svg", "--gain", value) for value in ("inf", "nan", "0", "-1")),
    *(("plot", "--out", "a.svg", "--slopes", value) for value in ("nan", "inf", "x")),
    *(("plot", "--out", value) for value in ("a.gif", "absent/a.svg", "a", ".svg/")),
    *(("tune", "user.py:net", option, value) for option, value in (
        ("--time-limit", "nan"), ("--time-limit", "inf"), ("--time-limit", "0"), ("--time-limit", "-1"),
        ("--seeds", "99999999999"), ("--seeds", "0"), ("--workers", "0"), ("--workers", "99999"), ("--confirm", "-1"),
        ("--storage", "/dev/full"), ("--storage", "."), ("--storage", "absent/a"), ("--storage", "x://y"),
        ("--slopes", "nan"), ("--slopes", "inf"), ("--slopes", "relu7"), ("--worth", "nan"), ("--patience", "nan"),
        ("--engine", "steam"), ("--budget", "x"), ("--candidates", "0"), ("--json", "absent/a"),
    )),
    *(("repair", "user.py:net", "--data", "noise:300x4", "--dry-run", option, value) for option, value in (
        ("--max-change", "nan"), ("--max-change", "-1"), ("--tolerance", "inf"), ("--negative-slope", "nan"),
        ("--seed", str(2**64)), ("--validate", "user.py:absent"), ("--weights", "absent.pt"), ("--max-samples", "0"),
    )),
    *(("repair", "user.py:net", "--data", "noise:300x4", "--out", name) for name in (
        "a.txt", "absent/a.pt", ".", "", "user.py", "x" * 300 + ".pt",
    )),
    ("compare", "absent.json", "absent.json"), ("compare", "user.py", "user.py"), ("compare", "/dev/null", "/dev/null"),
    ("frob",), ("check",), ("--frob",),
)  # fmt: skip


def situations() -> Iterator[Situation]:
    """Every command that must end in one line, and every place that a result may go to."""
    for arguments in REFUSED:
        shown = " ".join(argument if len(argument) < 40 else f"{argument[:40]}…" for argument in arguments)
        yield Situation("arguments", repr(shown), _refused(arguments))
    for error in ERRORS:
        yield Situation("user code", error[:40], _raises(error))
    for name, place in PLACES.items():
        yield Situation("writing", name, place)


def _refused(arguments: tuple[str, ...]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        (folder / "user.py").write_text(CODE)
        command(*arguments, status=(2,))

    return run


def _raises(error: str) -> Callable[[Path], None]:
    odd = "class ExceptionOdd(Exception):\n    def __str__(self):\n        raise ValueError\n"

    def run(folder: Path) -> None:
        (folder / "user.py").write_text(odd + CODE.replace("ERROR", error))
        command("check", "user.py:Raising", "--data", "noise:300x4", status=(2,))

    return run


def _written(name: str, prepare: Callable[[], object] = lambda: None) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        (folder / "user.py").write_text(CODE)
        prepare()
        command(*CHECK, "--fail-on", "never", "--json", name, status=(0,))

    return run


def _symlink(folder: Path) -> None:
    Path("target").write_text("old")
    Path("link").symlink_to("target")
    _written("link")(folder)
    assert Path("link").is_symlink()
    assert Path("target").read_text().startswith("{")


def _fifo(folder: Path) -> None:
    os.mkfifo("pipe")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(Path("pipe").read_text()))
    reader.start()
    _written("pipe")(folder)
    reader.join(30)
    assert got[0].startswith("{")
    assert stat.S_ISFIFO(Path("pipe").stat().st_mode)


def _null(folder: Path) -> None:
    _written("/dev/null")(folder)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def _full(folder: Path) -> None:
    (folder / "user.py").write_text(CODE)
    shown = command(*CHECK, "--json", "/dev/full", status=(2,), words="its content is in")
    assert shown.strip(), "the report must come all the same"


def _mode(folder: Path) -> None:
    Path("a.json").write_text("old")
    Path("a.json").chmod(0o640)
    _written("a.json")(folder)
    assert stat.S_IMODE(Path("a.json").stat().st_mode) == 0o640


PLACES: dict[str, Callable[[Path], None]] = {
    "a symlink": _symlink,
    "a pipe": _fifo,
    "/dev/null": _null,
    "/dev/full": _full,
    "a file with a mode": _mode,
    "a name of 255 bytes": _written("x" * 255),
    "a name with a line break": _written("a\nb"),
    "a name with an escape": _written("\x1b[31m.json"),
    "a name with half a surrogate": _written("a\udcff"),
    "a dangling symlink": _written("dangling", lambda: Path("dangling").symlink_to("nowhere")),
}
