"""Names of the user's code: what is found, and what is said where nothing is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from leaky.errors import InputError
from leaky.user_code import call_without_arguments, resolve

pytestmark = pytest.mark.usefixtures("folder")


def test_a_name_in_a_file_and_in_a_module_of_the_current_folder(folder: Path) -> None:
    (folder / "mine.py").write_text("class a:\n    b = 3\n")
    assert resolve("mine.py:a.b", "MODEL") == 3
    assert resolve("mine:a.b", "MODEL") == 3
    assert resolve(f"{folder}/mine.py:a", "MODEL") is sys.modules["mine"].a


def test_a_file_is_run_once_and_sees_its_own_folder(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "sibling_of_it.py").write_text("runs = []\n")
    (folder / "deep" / "runs_once.py").write_text("from sibling_of_it import runs\nruns.append(1)\n")
    assert resolve("deep/runs_once.py:runs", "MODEL") == [1]
    assert resolve("deep/runs_once.py:runs", "DATA") == [1]


def test_a_file_named_like_a_module_in_use_does_not_take_its_place(folder: Path) -> None:
    (folder / "json.py").write_text("mine = 1\n")
    import json

    assert resolve("json.py:mine", "MODEL") == 1
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net", "MODEL must be package.module:name or path/to/file.py:name, not 'net'"),
        ("net.py:", "MODEL must be package.module:name"),
        (":net", "MODEL must be package.module:name"),
        ("absent.py:net", "MODEL 'absent.py' must be a Python file; there is none"),
        ("absent_package.net:net", "there is none named 'absent_package'"),
        ("here.py:bild", "MODEL 'here.py' must have 'bild'; did you mean 'build'?"),
        ("here.py:zzz", "must have 'zzz'; it has 'build', 'other'"),
        ("empty.py:net", "must have 'net'; it has no public names"),
        ("exits.py:net", "it ended the program on import \\(status 7\\): put what it runs under if __name__"),
        ("relative.py:net", "name it as package.module:name"),
    ],
)
def test_what_cannot_be_found_is_explained(folder: Path, name: str, message: str) -> None:
    (folder / "here.py").write_text("build = other = 1\n")
    (folder / "empty.py").write_text("")
    (folder / "exits.py").write_text("raise SystemExit(7)\n")
    (folder / "relative.py").write_text("from . import layers\n")
    with pytest.raises(InputError, match=message):
        resolve(name, "MODEL")


@pytest.mark.parametrize("name", ["needs.py:net", "needs:net"])
def test_what_the_users_code_raises_is_left_as_it_is(folder: Path, name: str) -> None:
    (folder / "needs.py").write_text("import a_package_that_is_not_there\n")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        resolve(name, "MODEL")
    (folder / "needs.py").write_text("answer = 42\n")
    assert resolve("needs.py:answer", "MODEL") == 42, "a half-imported module must not stay behind"


def test_a_function_that_needs_arguments_is_refused_before_it_is_called() -> None:
    def build(width, depth=3):  # type: ignore[no-untyped-def]
        raise AssertionError("called")

    with pytest.raises(InputError, match=r"without arguments, not with \(width, depth=3\)"):
        call_without_arguments(build, "net.py:build", "MODEL")


def test_a_type_error_inside_the_function_is_the_users_own() -> None:
    def build() -> None:
        raise TypeError("from within")

    with pytest.raises(TypeError, match="from within"):
        call_without_arguments(build, "net.py:build", "MODEL")
