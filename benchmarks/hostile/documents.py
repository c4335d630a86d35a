"""Documents, journals, arrays and weights from outside, damaged in every way that is likely and some that are not."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import leaky
from benchmarks.hostile.situation import Situation, one_line, survives

WRONG: dict[str, Any] = {
    "null": None,
    "a number": -1,
    "a text": "\x1b[31mx",
    "a list": [[[]]],
    "an object": {"a": {}},
    "400 digits": 10**400,
    "true": True,
}
TEXTS: dict[str, bytes] = {
    "empty": b"",
    "binary": bytes(range(256)),
    "a pickle": b"\x80\x04\x95.",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000,
    "NaN": b'{"schema_version": NaN}',
    "twice": b'{"kind": "checkup", "kind": "study"}',
    "a long number": b'{"schema_version": ' + b"9" * 5000 + b"}",
    "half a surrogate": b'{"kind": "\\ud800"}',
    "not UTF-8": b'{"kind": "\xff"}',
    "another kind": b'{"kind": "cake", "schema_version": 1}',
    "newer": b'{"kind": "checkup", "schema_version": 999}',
}


@functools.cache
def examples() -> dict[str, dict[str, Any]]:
    """A whole document of some kinds."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].bias[:3] = -50
    found = leaky.check(model, torch.randn(1500, 4))
    study = leaky.tune(lambda slope, seed, report: slope + seed % 3 * 1e-3, slopes=[0.0, 0.1], seeds=3, confirm=0)
    return {"checkup": json.loads(json.dumps(found.to_dict())), "study": json.loads(json.dumps(study.to_dict()))}


def situations() -> Iterator[Situation]:
    """Everything that is read."""
    for name, content in TEXTS.items():
        yield Situation("files", f"load {name}", _loads(content, must_fail=True))
    for kind in ("checkup", "study"):
        for path in _paths(kind):
            for wrong in WRONG:
                yield Situation("files", f"{kind}: {'/'.join(map(str, path))} is {wrong}", _changed(kind, path, wrong))
    for form in ("npy", "npz", "pt", "safetensors"):
        for at in range(0, 100, 4):
            yield Situation("files", f"{form}: cut at {at}%", _damaged(form, at, False))
            yield Situation("files", f"{form}: a byte changed at {at}%", _damaged(form, at, True))


def _paths(kind: str) -> list[tuple[Any, ...]]:
    """Places in a document, by the shape that it has; at most two levels down and the first of each list."""
    shapes = {
        "checkup": [
            ("schema_version",), ("model",), ("samples",), ("sites",), ("findings",), ("thresholds",), ("notes",),
            ("sites", 0, "name"), ("sites", 0, "units"), ("sites", 0, "statistics"), ("sites", 0, "dead"),
            ("findings", 0, "level"), ("findings", 0, "units"), ("findings", 0, "message"),
        ],
        "study": [("schema_version",), ("trials",), ("seeds",), ("higher_is_better",), ("trials", 0),
                  ("trials", 0, "score"), ("trials", 0, "seed"), ("trials", 0, "slope")],
    }  # fmt: skip
    return shapes[kind]


def _loads(content: bytes, must_fail: bool) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        path = folder / "a.json"
        path.write_bytes(content)
        (one_line if must_fail else survives)(lambda: leaky.load(path), "a.json")

    return run


def _changed(kind: str, path: tuple[Any, ...], wrong: str) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        data = json.loads(json.dumps(examples()[kind]))
        place = data
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = WRONG[wrong]
        _loads(json.dumps(data).replace("Infinity", "1e999").encode(), must_fail=False)(folder)

    return run


def _damaged(form: str, percent: int, flip: bool) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        content = bytearray(_whole(form))
        at = len(content) * percent // 100
        if flip:
            content[at] ^= 0xFF
        else:
            del content[at:]
        path = folder / f"a.{form}"
        path.write_bytes(content)
        survives(lambda: _read(form, path), "a." + form)

    return run


@functools.cache
def _whole(form: str) -> bytes:
    content = io.BytesIO()
    if form == "npy":
        np.save(content, np.ones((50, 4), np.float32))
    elif form == "npz":
        np.savez(content, x=np.ones((50, 4), np.float32))
    else:
        state = nn.Linear(4, 8).state_dict()
        if form == "safetensors":
            from safetensors.torch import save

            return bytes(save(state))
        torch.save(state, content)
    return content.getvalue()


def _read(form: str, path: Path) -> None:
    from leaky.commands.loading import Model, load_data
    from leaky.observation.weights import read_weights

    if form in ("pt", "safetensors"):
        read_weights(path)
    else:
        load_data(str(path), Model(nn.Linear(4, 8), "model"))
