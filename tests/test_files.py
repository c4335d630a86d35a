"""Writing follows what a name points to, whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from leaky.errors import InputError
from leaky.files import must_be_writable, write_whole

CONTENT = b"what was computed\n" * 5000


def leftovers(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if file.name.startswith(".")]


def test_a_file_is_replaced_whole_and_keeps_mode_and_owner(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    path.chmod(0o640)
    if os.getuid() == 0:
        os.chown(path, 12345, 54321)
    before, reader = path.stat(), path.open()
    write_whole(path, CONTENT)
    after = path.stat()
    assert path.read_bytes() == CONTENT
    assert reader.read() == "old", "who has it open must not see it half written"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert leftovers(tmp_path) == []
    reader.close()


def test_a_new_file_has_the_mode_that_open_gives(tmp_path: Path) -> None:
    write_whole(tmp_path / "ours", b"")
    (tmp_path / "theirs").open("w").close()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


@pytest.mark.parametrize("dangling", [False, True])
def test_behind_a_symlink_its_target_is_replaced(tmp_path: Path, dangling: bool) -> None:
    (tmp_path / "deep").mkdir()
    target = tmp_path / "deep" / "target"
    if not dangling:
        target.write_text("old")
    (tmp_path / "second").symlink_to("deep/target")
    (tmp_path / "link").symlink_to(tmp_path / "second")
    write_whole(tmp_path / "link", CONTENT)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert target.read_bytes() == CONTENT


def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 127 + "x")
    write_whole(path, CONTENT)
    must_be_writable(path, "--json")
    assert path.read_bytes() == CONTENT
    too_long = tmp_path / ("x" * 256)
    for attempt in (lambda: write_whole(too_long, b""), lambda: must_be_writable(too_long, "--json")):
        with pytest.raises(InputError, match="File name too long"):
            attempt()


def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, CONTENT)
    reader.join(30)
    assert got == [CONTENT]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    for name in ("/dev/null", tmp_path / "link"):
        write_whole(name, CONTENT)
        must_be_writable(name, "--json")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(InputError, match="'/dev/full' must be writable: No space left on device"):
        write_whole("/dev/full", CONTENT)
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("to_file", [False, True])
def test_descriptors_are_written_after_what_was_printed(tmp_path: Path, name: str, to_file: bool) -> None:
    program = (
        f"from leaky.files import write_whole; print('before'); write_whole({name!r}, b'content,'); print('after')"
    )
    if to_file:
        with (tmp_path / "out").open("wb") as out:
            subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
        seen = (tmp_path / "out").read_bytes()
    else:
        seen = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True).stdout
    assert seen == b"before\ncontent,after\n"


def test_a_failed_rename_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")

    def fails(self: Path, target: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(InputError, match="must be writable: Input/output error"):
        write_whole(path, CONTENT)
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == []


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (calls.append("replace"), replace(self, to))[1])
    write_whole(tmp_path / "a", CONTENT)
    assert calls == ["fsync", "replace", "fsync"], "and then the folder"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "must be a file in a folder that exists"),
        (".", "must be a file in a folder that exists"),
        ("absent/a", "must be a file in a folder that exists"),
        ("a\0b", "no null character"),
        ("file/a", "must be a file in a folder that exists"),
    ],
)
def test_what_cannot_be_written_is_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=words):
        must_be_writable(name, "--json")
    with pytest.raises(InputError):
        write_whole(name, CONTENT)


def test_a_full_disk_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a"
    must_be_writable(path, "--out")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(os, "fdopen", lambda handle, mode: (os.close(handle), full(handle)))
    with pytest.raises(InputError, match=r"--out must be a file .*: No space left on device"):
        must_be_writable(path, "--out")
    assert list(tmp_path.iterdir()) == []
