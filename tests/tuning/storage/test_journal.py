"""The journal: no interrupt and no fork leaves it locked, and what is written to it can be read again."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from leaky.errors import InputError
from leaky.tuning.storage import journal
from leaky.tuning.storage.store import Store
from leaky.tuning.trial import Cell

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the kernel's locks are those of POSIX")


def others_wait(path: Path) -> bool:
    """Whether somebody else would have to wait for the lock."""
    import fcntl

    handle = os.open(f"{path}.lock", os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "tune.journal").write_text("one\ntwo\nthr")
    return tmp_path / "tune.journal"


def test_it_locks_cuts_off_what_a_kill_left_and_gives_up(path: Path) -> None:
    lock = journal.KernelLock(str(path))
    assert lock.acquire()
    assert others_wait(path)
    assert path.read_text() == "one\ntwo\n"
    lock.release()
    assert not others_wait(path)


def test_an_interrupt_while_it_is_taken_does_not_leave_it_locked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    lock = journal.KernelLock(str(path))
    with monkeypatch.context() as patch:
        patch.setattr(journal, "cut_off_unfinished_line", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lock.acquire()
    assert not others_wait(path)
    assert lock.acquire()
    lock.release()


def test_a_lock_that_an_interrupt_left_with_its_thread_is_given_up_first(path: Path) -> None:
    lock = journal.KernelLock(str(path))
    lock.acquire()  # and Ctrl-C before its release was promised
    assert lock.acquire()
    lock.release()
    assert not others_wait(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_process_forked_while_it_is_held_does_not_go_on_holding_it(path: Path) -> None:
    lock = journal.KernelLock(str(path))
    lock.acquire()
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
    child.start()
    try:
        assert others_wait(path)
        lock.release()
        assert not others_wait(path)
    finally:
        child.kill()
        child.join()


def test_a_cell_that_was_given_back_and_begun_again_is_no_damage(tmp_path: Path) -> None:
    path, cell = str(tmp_path / "tune.journal"), Cell("0.1", 0)
    store = Store(path, "study", {"slopes": [0.1]}, True, ["0.1"])
    for _ in range(2):
        attempt = store.claim(cell)
        assert attempt is not None
        store.release(attempt)
    lines = Path(path).read_bytes().splitlines()
    assert len(set(lines)) == len(lines) - 1
    assert Store(path, "study", {"slopes": [0.1]}, True, ["0.1"]).trials() == []
    Path(path).write_bytes(b"".join(line + b"\n" for line in [*lines, lines[-1]]))
    with pytest.raises(InputError, match="stands there twice"):
        journal.journal_storage(path)
