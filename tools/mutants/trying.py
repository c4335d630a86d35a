"""Runs tests in forks of one process that has imported torch and nothing of leaky.

A mutant meets the tests that ran its lines when nothing was changed, the quickest first, and those first that noticed
another mutant of the same function; the first failure ends it. A test that takes too long has noticed.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from tools.mutants.mutations import Mutant, mutated
from tools.mutants.rooms import ROOT, Room

MEMORY = 24 << 30
"""Address space of a run in bytes: a loop that a mutant made endless must not take the machine."""

_ALWAYS = ["-x", "-q", "-p", "no:cacheprovider"]


class Coverage:
    """A plugin of pytest that keeps which lines of some files each test ran, and how long it took."""

    def __init__(self, files: list[Path]) -> None:
        self.lines: dict[str, dict[str, set[int]]] = {}
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self._files = {str(file): file.name for file in files}
        self._now: dict[str, set[int]] = {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        """Watch one test, without what earlier ones have computed for it."""
        for module in [module for name, module in sys.modules.items() if name.startswith("tests.")]:
            for value in vars(module).values():
                if callable(clear := getattr(value, "cache_clear", None)):
                    clear()
        self._now = self.lines.setdefault(item.nodeid, {})
        begin = time.perf_counter()
        threading.settrace(self._entered)
        sys.settrace(self._entered)
        yield
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        self.seconds[item.nodeid] = time.perf_counter() - begin

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what failed."""
        if report.failed:
            self.failed.append(report.nodeid)

    def _entered(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        self._now.setdefault(frame.f_code.co_filename, set()).add(frame.f_lineno)
        return self._line


class Selection:
    """A plugin of pytest that runs some tests in an order, and tells which one failed."""

    def __init__(self, order: list[str], known: set[str], answer: Path) -> None:
        self._rank = {name: i for i, name in enumerate(order)}
        self._known = known
        self._answer = answer

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what is not asked for; tests that the mutant itself made are run."""
        items[:] = [item for item in items if item.nodeid in self._rank or item.nodeid not in self._known]
        items.sort(key=lambda item: self._rank.get(item.nodeid, -1))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Say what failed."""
        if report.failed:
            self._answer.write_text(report.nodeid)


def in_a_fork(work: Callable[[], int], seconds: float, output: Path) -> int | None:
    """The status of some work in a process of its own; None where it took too long and was ended."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for stream in (1, 2):
                os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
            status = work()
        finally:
            os._exit(status)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def put_in_place(file: Path, code: CodeType) -> None:
    """Let the next import of a file run this instead."""
    original = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: Any, fullname: str) -> CodeType | None:
        return code if self.path == str(file) else original(self, fullname)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]


class Bench:
    """The tests of one room, and what they ran when nothing was changed."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self._folder = Path(tempfile.mkdtemp(prefix="mutants-"))
        self._tests = [str(ROOT / test) for test in room.tests if (ROOT / test).exists()]
        self._killers: dict[tuple[Path, str], list[str]] = {}
        kept = self._folder / "lines.json"

        def work() -> int:
            coverage = Coverage(room.files())
            status = pytest.main([*_ALWAYS[1:], *self._tests], plugins=[coverage])
            lines = {test: {f: sorted(n) for f, n in each.items()} for test, each in coverage.lines.items()}
            kept.write_text(json.dumps([lines, coverage.seconds, coverage.failed]))
            return int(status)

        in_a_fork(work, 1800, self._folder / "output")
        if not kept.exists():
            raise RuntimeError((self._folder / "output").read_text("utf-8", "replace"))
        self.lines, self.seconds, failed = json.loads(kept.read_text())
        self.failed: list[str] = sorted(set(failed))
        for name in self.failed:  # what fails anyway notices nothing
            self.seconds.pop(name, None)

    def order(self, mutant: Mutant) -> list[str]:
        """The tests that ran the changed lines; all of them where these run at import."""
        file, lines = str(mutant.file), mutant.lines
        names = [
            name
            for name in self.seconds
            if lines is None or any(lines[0] <= n <= lines[1] for n in self.lines[name].get(file, ()))
        ]
        first = self._killers.get((mutant.file, mutant.where), [])
        return sorted(names, key=lambda name: (name not in first, self.seconds[name]))

    def notices(self, mutant: Mutant) -> str:
        """The test that failed, "time" where it took too long; "" where none did."""
        order = self.order(mutant)
        if not order:
            return ""
        answer = self._folder / "answer"
        answer.unlink(missing_ok=True)
        known = {*self.seconds, *self.failed}

        def work() -> int:
            put_in_place(mutant.file, compile(mutated(mutant), str(mutant.file), "exec"))
            files = sorted({name.split("::")[0] for name in order})
            return int(
                pytest.main([*_ALWAYS, *(str(ROOT / f) for f in files)], plugins=[Selection(order, known, answer)])
            )

        status = in_a_fork(work, 20 + 6 * sum(self.seconds[name] for name in order), self._folder / "output")
        if status is None:
            return "time"
        if status == 0:
            return ""
        name = answer.read_text() if answer.exists() else "import"
        if name != "import":
            killers = self._killers.setdefault((mutant.file, mutant.where), [])
            killers.insert(0, name)
            del killers[8:]
        return name
