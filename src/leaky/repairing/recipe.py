"""What weights cannot hold of a repair, as a file: which rectifier was swapped for which leaky one."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from leaky.errors import InputError
from leaky.files import write_whole
from leaky.repairing.standardise import put_standardised
from leaky.repairing.swap import put_rectifier

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Rectifier:
    """A leaky ReLU in the place of a module.

    Attributes:
        module: qualified name.
        negative_slope: of all units, or one a unit.
        channel_dim: the dimension of its input along which several slopes run.
        gain: what its output is multiplied by.
    """

    module: str
    negative_slope: float | tuple[float, ...]
    channel_dim: int = 1
    gain: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """What to change in a freshly built model before repaired weights are loaded into it.

    Attributes:
        rectifiers: in the order in which they are put in.
        standardised: names of the layers that standardise their inputs; the weights have mean and scale.
    """

    rectifiers: tuple[Rectifier, ...] = ()
    standardised: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rectifiers or self.standardised)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON-safe data."""
        entries = [
            {
                "module": r.module,
                "negative_slope": list(r.negative_slope) if isinstance(r.negative_slope, tuple) else r.negative_slope,
                "channel_dim": r.channel_dim,
                "gain": r.gain,
            }
            for r in self.rectifiers
        ]
        return {"schema_version": SCHEMA_VERSION, "kind": "leaky-recipe", "rectifiers": entries} | {
            "standardised": list(self.standardised)
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recipe as JSON, whole or not at all."""
        write_whole(path, (json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n").encode())

    def apply(self, model: nn.Module) -> nn.Module:
        """Put the rectifiers into a model that was built as the repaired one was before its repair.

        Raises:
            InputError: if the model has no such module; it is then left as it was.
        """
        known = {name for name, _ in model.named_modules()}
        missing = [name for name in (*(r.module for r in self.rectifiers), *self.standardised) if name not in known]
        if missing:
            raise InputError(f"the model must have the modules that the recipe names; it has no {missing[0]!r}")
        for path in self.standardised:
            put_standardised(model, path)
        for rectifier in self.rectifiers:
            put_rectifier(model, rectifier.module, rectifier.negative_slope, rectifier.channel_dim, rectifier.gain)
        return model


def read_recipe(source: Mapping[str, Any] | str | os.PathLike[str]) -> Recipe:
    """A recipe from the file that `Recipe.save` wrote, or from its data.

    Raises:
        InputError: if it is no recipe, or was written by a newer leaky.
    """
    shown = "the recipe" if isinstance(source, Mapping) else repr(os.fspath(source))
    data: Any = source
    if not isinstance(source, Mapping):
        try:
            data = json.loads(Path(source).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{shown} must be a readable JSON file: {error}") from error
    if not isinstance(data, Mapping) or data.get("kind") != "leaky-recipe":
        raise InputError(f"{shown} must be a recipe that leaky repair wrote")
    version = data.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise InputError(
            f"{shown} has schema version {version!r}, and this leaky reads up to {SCHEMA_VERSION}; update it"
        )
    entries = data.get("rectifiers")
    if not isinstance(entries, list):
        raise InputError(f"{shown} must have a list of rectifiers")
    standardised = data.get("standardised", [])
    if not isinstance(standardised, list) or not all(isinstance(name, str) for name in standardised):
        raise InputError(f'{shown} must have names of layers under "standardised", not {standardised!r}')
    return Recipe(tuple(_rectifier(entry, shown) for entry in entries), tuple(standardised))


def _rectifier(entry: Any, shown: str) -> Rectifier:
    ok = isinstance(entry, Mapping) and isinstance(entry.get("module"), str)
    slope: Any = entry.get("negative_slope") if ok else None
    slopes: list[Any] = slope if isinstance(slope, list) else [slope]
    dim = entry.get("channel_dim", 1) if ok else None
    gain: Any = entry.get("gain", 1.0) if ok else None
    numbers = bool(slopes) and all(_is_finite(number) for number in (*slopes, gain))
    if not ok or not numbers or not isinstance(dim, int) or not gain > 0:
        raise InputError(f"{shown}: a rectifier must have module, negative_slope, channel_dim and gain, not {entry!r}")
    values = tuple(float(a) for a in slopes)
    return Rectifier(entry["module"], values if isinstance(slope, list) else values[0], dim, float(gain))


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
