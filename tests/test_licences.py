"""That what a wheel contains of other people's code comes with their licences."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def words(text: str) -> str:
    """Without the ways in which lines are broken and comments are marked."""
    return " ".join(re.sub(r"^ ?\*+/?", "", line).strip() for line in text.splitlines()).strip()


def test_every_file_of_licences_goes_into_the_wheel() -> None:
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "src").rglob("LICENSE*")} | {"LICENSE"}
    declared = re.search(r"^license-files = \[(.*)\]$", (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert declared is not None
    assert set(re.findall(r'"([^"]+)"', declared[1])) == found


def test_the_core_brings_the_licences_of_what_is_linked_into_it() -> None:
    nanobind = pytest.importorskip("nanobind")
    kept = words((ROOT / "src/leaky/activation/kernels/LICENSES").read_text("utf-8"))
    (theirs,) = (path for path in importlib.metadata.files("nanobind") or () if path.match("*.dist-info/**/LICENSE"))
    assert words(Path(str(theirs.locate())).read_text("utf-8")) in kept
    header = Path(nanobind.include_dir()).parent / "ext/robin_map/include/tsl/robin_hash.h"
    assert words(header.read_text("utf-8").partition("/**")[2].partition("*/")[0]) in kept
