"""Arrays, weights, journals and documents whose headers and contents do not say what is there."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import leaky
from benchmarks.hostile.commands import CHECK, CODE
from benchmarks.hostile.documents import examples
from benchmarks.hostile.situation import Situation, command, survives

Files = Callable[[], bytes]


def npy(header: str, content: bytes = b"\0" * 64, version: bytes = b"\x01\x00") -> Files:
    """An array whose header says that."""

    def made() -> bytes:
        size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header))
        return b"\x93NUMPY" + version + size + header.encode() + content

    return made


def of_array(value: Any) -> Files:
    """An array as NumPy writes it."""

    def made() -> bytes:
        stream = io.BytesIO()
        np.save(stream, value, allow_pickle=True)
        return stream.getvalue()

    return made


def zipped(*entries: tuple[str, bytes]) -> Files:
    """An archive of these."""

    def made() -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in entries:
                archive.writestr(name, content)
        return stream.getvalue()

    return made


def saved(value: Any) -> Files:
    """Weights as torch writes them."""

    def made() -> bytes:
        stream = io.BytesIO()
        torch.save(value, stream)
        return stream.getvalue()

    return made


def safetensors(header: bytes, size: int | None = None) -> Files:
    """Weights whose header says that."""
    return lambda: struct.pack("<Q", len(header) if size is None else size) + header + b"\0" * 64


def _fitting() -> dict[str, torch.Tensor]:
    """Weights of the network that the commands load."""
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).state_dict()


FINE = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }\n"
DATA: dict[str, tuple[str, Files]] = {
    "a shape of 10^12 rows": ("a.npy", npy(FINE % "1000000000000, 4")),
    "a negative shape": ("a.npy", npy(FINE % "-4, 4")),
    "a shape of texts": ("a.npy", npy(FINE % "'4', 4")),
    "no samples": ("a.npy", of_array(np.zeros((0, 4), np.float32))),
    "a header that is a call": ("a.npy", npy("__import__('os').abort()\n")),
    "a header nested 10,000 deep": ("a.npy", npy("(" * 10_000 + "\n")),
    "a header of 4 GB": ("a.npy", lambda: b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"),
    "objects": ("a.npy", of_array(np.array([{}, []], object))),
    "texts": ("a.npy", of_array(np.array([["a"] * 4] * 9))),
    "dates": ("a.npy", of_array(np.zeros((9, 4), "datetime64[s]"))),
    "records": ("a.npy", of_array(np.zeros(9, [("a", "f4"), ("b", "f4")]))),
    "complex numbers": ("a.npy", of_array(np.zeros((9, 4), np.complex64))),
    "a single number": ("a.npy", of_array(np.float32(3))),
    "a version of 200": ("a.npy", npy(FINE % "4, 4", version=b"\xc8\x00")),
    "an archive of nothing": ("a.npz", zipped()),
    "an archive of texts": ("a.npz", zipped(("x.npy", b"no array"))),
    "an archive of a path upwards": ("a.npz", zipped(("../../x.npy", b"no array"))),
    "an archive of objects": ("a.npz", zipped(("x.npy", of_array(np.array([{}], object))()))),
}
"""What --data is given."""
WEIGHTS: dict[str, tuple[str, Files]] = {
    "a number": ("a.pt", saved(5)),
    "a list": ("a.pt", saved([torch.ones(2)])),
    "texts": ("a.pt", saved({"0.weight": "x"})),
    "keys that are numbers": ("a.pt", saved({0: torch.ones(2)})),
    "an empty table": ("a.pt", saved({})),
    "another shape": ("a.pt", saved({"0.weight": torch.ones(3, 3)})),
    "names with an escape": ("a.pt", saved({"\x1b[31m": torch.ones(2)})),
    "sparse weights": ("a.pt", saved({"0.weight": torch.eye(8, 4).to_sparse()})),
    "complex weights": ("a.pt", saved({name: tensor * 1j for name, tensor in _fitting().items()})),
    "weights on the meta device": ("a.pt", saved({"0.weight": torch.ones(8, 4, device="meta")})),
    "a whole module": ("a.pt", saved(nn.Linear(4, 8))),
    "an archive of texts": ("a.pt", zipped(("archive/data.pkl", b"cos\nabort\n(tR."))),
    "a header of 2^63 bytes": ("a.safetensors", safetensors(b"{}", 2**63)),
    "a header nested deep": ("a.safetensors", safetensors(b'{"a":' * 10_000)),
    "places outside the file": (
        "a.safetensors",
        safetensors(b'{"0.weight":{"dtype":"F32","shape":[8,4],"data_offsets":[0,99999]}}'),
    ),
    "a shape of 2^62": (
        "a.safetensors",
        safetensors(b'{"0.weight":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,64]}}'),
    ),
}
"""What --weights is given."""
DOCUMENTS: dict[str, Callable[[bytes], bytes]] = {
    "in UTF-16": lambda text: text.decode().encode("utf-16"),
    "with a mark of its order": lambda text: b"\xef\xbb\xbf" + text,
    "compressed": gzip.compress,
    "twice": lambda text: text + text,
    "with more behind it": lambda text: text + b"\0" * 100,
    "in one line of comments": lambda text: b"// " + text,
    "with Windows' ends of lines": lambda text: text.replace(b"\n", b"\r\n"),
    "with every number negative": lambda text: text.replace(b": ", b": -"),
    "with every list empty": lambda text: _emptied(text),
}
"""What is done to a whole checkup and study."""
JOURNALS: dict[str, bytes] = {
    "a checkup": b'{"kind": "checkup", "schema_version": 1}\n',
    "bytes": bytes(range(256)) * 4,
    "null": b"null\n" * 5,
    "a list in each line": b"[]\n" * 5,
    "deep lines": b"[" * 100_000 + b"\n",
    "an operation of 400 digits": b'{"op_code": ' + b"9" * 400 + b', "worker_id": "a"}\n',
    "a study without a name": b'{"op_code": 0, "worker_id": "a"}\n',
}
"""What --storage names. (A trial of a study that is not there is passed over, as Optuna does.)"""


def _emptied(text: bytes) -> bytes:
    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return []
        return {key: walk(each) for key, each in value.items()} if isinstance(value, dict) else value

    return json.dumps(walk(json.loads(text))).encode()


def situations() -> Iterator[Situation]:
    """All of them."""
    for name, (file, made) in DATA.items():
        yield Situation("files", f"data: {name}", _given("--data", file, made))
    for name, (file, made) in WEIGHTS.items():
        yield Situation("files", f"weights: {name}", _given("--weights", file, made))
    for kind in ("checkup", "study"):
        for name, spoil in DOCUMENTS.items():
            yield Situation("files", f"a {kind} {name}", _shown(kind, spoil))
    for name, content in JOURNALS.items():
        yield Situation("files", f"a journal of {name}", _stored(content))


def _given(option: str, file: str, made: Files) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        (folder / "user.py").write_text(CODE)
        (folder / file).write_bytes(made())
        before = CHECK[:2] if option == "--data" else CHECK
        command(*before, option, file, status=(2,), words=file)

    return run


def _shown(kind: str, spoil: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        (folder / "a.json").write_bytes(spoil(json.dumps(examples()[kind], indent=1).encode()))
        command("check", "a.json", "--fail-on", "never", status=(0, 2))
        survives(lambda: leaky.load("a.json"), "a.json")

    return run


def _stored(content: bytes) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        (folder / "user.py").write_text(CODE + "\ndef fine(negative_slope, seed, report):\n    return seed * 1e-3\n")
        (folder / "a.journal").write_bytes(content)
        command("tune", "user.py:fine", "--storage", "a.journal", "--time-limit", "20", status=(2,), words="a.journal")
        assert (folder / "a.journal").read_bytes() == content, "what was there was changed"

    return run
