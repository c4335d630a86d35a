"""Random input for every reader: it is accepted, or refused by one `InputError` of one line."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.budget import fuzz
from torch import nn

import leaky
from leaky.commands.loading import Model, load_data
from leaky.documents import loads
from leaky.errors import InputError
from leaky.tuning.storage.journal import journal_storage

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
KEYS = (
    "kind",
    "schema_version",
    "model",
    "sites",
    "samples",
    "findings",
    "trials",
    "seeds",
    "rectifiers",
    "thresholds",
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def refused_in_one_line(act: Any, *arguments: Any) -> None:
    said = ""
    try:
        act(*arguments)
    except InputError as error:
        said = str(error)
    assert said.isprintable()
    assert len(said) < 1000


@fuzz
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes(content: bytes) -> None:
    refused_in_one_line(loads, content, "a.json")


@fuzz
@given(
    st.dictionaries(st.sampled_from(KEYS), JSON), st.sampled_from(["checkup", "study", "recipe", "comparison", "run"])
)
def test_any_document(folder: Path, data: dict[str, Any], kind: str) -> None:
    path = folder / "a.json"
    path.write_text(json.dumps({"kind": kind, "schema_version": 1, **data}))
    refused_in_one_line(leaky.load, path)


@fuzz
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["op_code", "worker_id", "study_id", "trial_id", "state"]), JSON), max_size=4
    )
)
def test_any_journal(folder: Path, lines: list[dict[str, Any]]) -> None:
    path = folder / "a.journal"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    refused_in_one_line(journal_storage, str(path))


@fuzz
@given(st.text(alphabet="0123456789x,-+.e٣ ", max_size=30))
def test_any_shape_of_noise(shape: str) -> None:
    model = Model(nn.Linear(2, 2), "model")
    if not any(len(part) > 6 for part in shape.replace(",", "x").split("x")):
        return  # what can be made is made
    refused_in_one_line(load_data, f"noise:{shape}", model)
