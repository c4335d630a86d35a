"""An exception in one line: what happened, and where in the user's own code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from leaky.errors import InputError
from leaky.failures import one_line


def raised(code: str, folder: Path) -> Exception:
    path = folder / "users.py"
    path.write_text(code)
    try:
        exec(compile(code, str(path), "exec"), {"torch": torch, "nn": nn})
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_our_own_errors_say_it_all() -> None:
    error = InputError("a  file\nmust \x1b[31m hold")
    assert one_line(error) == str(error) == "a file must \\x1b[31m hold"


def test_the_innermost_line_of_the_users_code_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    error = raised("def run():\n    return nn.Linear(2, 3)(torch.ones(4, 5))\n\nrun()\n", tmp_path)
    line = one_line(error, "the data are float32")
    assert line == (
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x5 and 2x3); "
        "at users.py:2, in run: `return nn.Linear(2, 3)(torch.ones(4, 5))`; the data are float32"
    )


def test_an_error_in_a_package_alone_names_its_place_there() -> None:
    with pytest.raises(RuntimeError) as caught:
        nn.Linear(2, 3)(torch.ones(4, 5))
    outermost = caught.value.__traceback__
    assert outermost is not None
    assert "; at linear.py:" in one_line(caught.value.with_traceback(outermost.tb_next))


def test_long_and_multi_line_words_are_cut(tmp_path: Path) -> None:
    line = one_line(raised("raise ValueError('a\\n' * 1000)", tmp_path))
    assert "\n" not in line
    assert len(line) < 600
    assert line.startswith("ValueError: a a a a")
    assert " …" in line


def test_an_error_without_words(tmp_path: Path) -> None:
    assert one_line(raised("raise KeyError", tmp_path)).startswith("KeyError; at users.py:1, in <module>")
