"""A page's data as bytes: one JSON header and typed arrays behind it, deflated, in base64.

Figures must stand in the page once and unharmed: base64 holds no character that could end the element it stands in. The
bytes of an array are sorted by their place in the number, which deflate packs better; page/src/data.ts reads them.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

KINDS = {"u1": np.uint8, "u2": np.uint16, "i4": np.int32, "f4": np.float32, "f8": np.float64}
"""Kinds of array that the page can read, all little-endian."""

LARGEST_COUNT = 2**31 - 1


@dataclass(frozen=True)
class Stored:
    """The place of an array among the columns; the header names it instead of the array."""

    index: int


class Columns:
    """The arrays of one page."""

    def __init__(self) -> None:
        self._kinds: list[str] = []
        self._arrays: list[NDArray[Any]] = []

    def add(self, values: ArrayLike, kind: str) -> Stored:
        """Keep an array, flattened, in one of `KINDS`."""
        self._kinds.append(kind)
        with np.errstate(over="ignore"):  # a sum that overflowed stays infinite
            self._arrays.append(np.asarray(values).astype(KINDS[kind]).ravel())
        return Stored(len(self._arrays) - 1)

    def add_counts(self, values: ArrayLike) -> Stored:
        """Keep whole numbers exactly, up to 2⁵³."""
        array = np.asarray(values)
        return self.add(array, "i4" if not array.size or np.abs(array).max() <= LARGEST_COUNT else "f8")

    def add_figures(self, values: ArrayLike, bits: int) -> Stored:
        """Keep real numbers to this many significant bits: relative error 2⁻ᵇⁱᵗˢ; 53 keeps them as they are."""
        if bits >= 53:
            return self.add(values, "f8")
        with np.errstate(over="ignore"):
            return self.add(_rounded(np.asarray(values, np.float64).astype(np.float32), bits), "f4")

    def pack(self, content: dict[str, Any]) -> str:
        """Header and arrays as base64 text."""
        layout = [[kind, len(array)] for kind, array in zip(self._kinds, self._arrays, strict=True)]
        header = json.dumps({"arrays": layout, "content": _plain(content)}, allow_nan=False).encode()
        parts = [len(header).to_bytes(4, "little"), header]
        for array in self._arrays:
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            parts.append(np.ascontiguousarray(little.view(np.uint8).reshape(len(array), array.itemsize).T).tobytes())
        return base64.b64encode(zlib.compress(b"".join(parts), 6)).decode("ascii")


def _rounded(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Each number with the mantissa's last bits rounded away, which deflate then packs."""
    spare = 24 - bits
    if spare <= 0:
        return values
    finite = np.isfinite(values)
    raw = values.view(np.uint32)
    half = np.uint32(1 << (spare - 1))
    rounded = ((raw + half) >> np.uint32(spare) << np.uint32(spare)).view(np.float32)
    return np.where(finite & np.isfinite(rounded), rounded, values)


def _plain(value: Any) -> Any:
    """JSON-safe: stored arrays by their place, numbers that are not finite as null."""
    if isinstance(value, Stored):
        return {"$": value.index}
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
