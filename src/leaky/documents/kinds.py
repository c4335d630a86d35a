"""The kinds of documents, in one table: what each is called, its version and who reads and writes its body.

A new kind is a row here. Its home, imported at first use, is a data class, "module:Class", of which `documents.plain`
makes everything; or, where the file says more or less than the class, a module with
    encode(thing) -> dict             the body, JSON-safe, without kind and schema_version
    decode(at: Reader) -> thing       the thing again; raises InputError naming the place
    SCHEMA                            the data class that the schema is generated from; None for one kept by hand
A version grows when a field changes its meaning or goes; new fields may come without that.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leaky.checking import file_name
from leaky.documents import plain
from leaky.documents.reader import Reader, came
from leaky.documents.strict import Json, dumps, read
from leaky.errors import InputError
from leaky.files import write_whole
from leaky.text import named


@dataclass(frozen=True)
class Kind:
    """A kind of document.

    Attributes:
        name: as `kind` has it in the file.
        version: of its format, that this leaky writes and reads up to.
        home: the data class, or the module that encodes and decodes it.
        words: what it is and which command or call writes it, for messages.
        former: names of earlier versions.
    """

    name: str
    version: int
    home: str
    words: str
    former: tuple[str, ...] = ()

    @property
    def codec(self) -> Any:
        """The module or object with `encode`, `decode` and `SCHEMA` of this kind."""
        module, _, name = self.home.partition(":")
        found = importlib.import_module(module)
        return _Plain(getattr(found, name)) if name else found


@dataclass(frozen=True)
class _Plain:
    """The codec of a data class that is its own document."""

    SCHEMA: type[Any]

    def encode(self, thing: Any) -> Json:
        body: Json = plain.encode(thing)
        return body

    def decode(self, at: Reader) -> Any:
        return plain.decode(self.SCHEMA, at)


_TABLE = (
    Kind("checkup", 1, "leaky.checkup_document", "a checkup, as `leaky check --json` writes it"),
    Kind("record", 1, "leaky.record.document", "a record, as `Record.save` writes it"),
    Kind("comparison", 1, "leaky.diagnosis.comparison_document", "a comparison, as `leaky compare --json` writes it"),
    Kind("plan", 1, "leaky.repairing.plan:Plan", "a plan of a repair, as `Plan.save` writes it"),
    Kind("repair", 2, "leaky.repairing.outcome:RepairRecord", "what a repair did, as `RepairRecord.save` writes it"),
    Kind("recipe", 2, "leaky.repairing.recipe:Recipe", "a recipe, as `leaky repair` writes it", ("leaky-recipe",)),
    Kind("run", 1, "leaky.watching.run:Run", "a watched training, as `watch.save` writes it"),
    Kind("study", 2, "leaky.tuning.saving", "a study, as `leaky tune --json` writes it"),
)

PAGE_SUFFIXES = (".html", ".htm")
PAGES = "leaky.report.page"
"""Where `page_of(kind, thing)` is, imported at first use as the codecs are."""

LOGS = ".jsonl"
"""What the name of a log ends in: a run written line by line, which may break off."""

KINDS = {kind.name: kind for kind in _TABLE}
_BY_FORMER_NAME = {former: kind for kind in _TABLE for former in kind.former}


def save(path: str | os.PathLike[str], kind: str, thing: Any) -> None:
    """Write a thing as a document of its kind, whole or not at all; a name in .html or .htm gets its page.

    Raises:
        InputError: if the file cannot be written.
    """
    if os.fspath(path).lower().endswith(PAGE_SUFFIXES):
        importlib.import_module(PAGES).page_of(kind, thing).save(path)
        return
    write(path, kind, KINDS[kind].codec.encode(thing))


def as_data(kind: str, thing: Any) -> Json:
    """A thing as the data of its document."""
    return document(kind, KINDS[kind].codec.encode(thing))


def document(kind: str, body: Json) -> Json:
    """The whole document around a body."""
    return {"kind": kind, "schema_version": KINDS[kind].version, **body}


def text(kind: str, body: Json) -> str:
    """The document as strict JSON text."""
    return dumps(document(kind, body))


def write(path: str | os.PathLike[str], kind: str, body: Json) -> None:
    """Write a document, whole or not at all.

    Raises:
        InputError: if the file cannot be written.
    """
    write_whole(path, text(kind, body).encode())


def load(path: str | os.PathLike[str]) -> Any:
    """What leaky wrote to a file, whatever it is: a checkup, a comparison, a study, a plan, a recipe, …

    A checkup that was saved without findings is diagnosed anew. Nothing of the file is ever executed.

    Args:
        path: a file that leaky wrote as JSON.

    Returns:
        The object that was saved; its class tells what it is.

    Raises:
        InputError: if it is no such file, is damaged, or was written by a newer leaky; the message names the place.
    """
    return opened(path)[1]


def opened(path: str | os.PathLike[str]) -> tuple[str, Any]:
    """The kind of a document and the object that was saved in it; otherwise as `load`."""
    name = file_name(path)
    if name.endswith(LOGS):
        return "run", importlib.import_module("leaky.watching.log").read(path)
    data, source = read(name), named(name)
    return _kind_of(data, source).name, from_data(data, source)


def load_as(kind: str, source: Mapping[str, Any] | str | os.PathLike[str]) -> Any:
    """As `load`, but only for documents of one kind; accepts parsed JSON data instead of a file name, too.

    Raises:
        InputError: as `load`, or if another kind came; the message says which.
    """
    if isinstance(source, Mapping):
        return from_data(dict(source), f"the {kind}", kind)
    name = file_name(source, f"a {kind}")
    return from_data(read(name), named(name), kind)


def from_data(data: Json, source: str, wanted: str | None = None) -> Any:
    """The thing that a document's data say.

    Args:
        data: the whole document.
        source: its name, for the messages.
        wanted: the kind that it must be of; None for any.

    Raises:
        InputError: as `load_as`.
    """
    kind = _kind_of(data, source)
    if wanted is not None and kind.name != wanted:
        raise InputError(f"{source} must be {KINDS[wanted].words}; it is {kind.words}")
    version = data.get("schema_version")
    if type(version) is not int:
        raise InputError(f"{source} must be a JSON object with a schema_version, as leaky writes it")
    if version > kind.version:
        raise InputError(
            f"{source} has schema_version {came(version)} of a {kind.name}, and this leaky reads up to {kind.version}: "
            "install a newer leaky (pip install --upgrade leaky)"
        )
    if version < 1:
        raise InputError(f"{source} must have a schema_version of 1 or more, not {came(version)}")
    return kind.codec.decode(Reader(data, source))


def _kind_of(data: Json, source: str) -> Kind:
    # The first checkups had no kind.
    name = data.get("kind", "checkup" if "sites" in data else None)
    if not isinstance(name, str):
        raise InputError(f"{source} must be a JSON object with a kind and a schema_version, as leaky writes it")
    kind = KINDS.get(name) or _BY_FORMER_NAME.get(name)
    if kind is None:
        raise InputError(
            f"{source} is of the kind {named(name)}, and this leaky knows {', '.join(KINDS)}: a newer one may read it "
            "(pip install --upgrade leaky)"
        )
    return kind
