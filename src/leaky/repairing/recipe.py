"""What weights cannot hold of a repair, as a file: which rectifier was swapped for which leaky one."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from leaky.activation.torch import LeakyReLU
from leaky.errors import InputError
from leaky.files import write_whole
from leaky.repairing.operations.standardise import put_standardised
from leaky.repairing.operations.standardised import KINDS
from leaky.repairing.operations.swap import put_rectifier

SCHEMA_VERSION = 2

MOST_DIMENSIONS = 64
"""Of a tensor, in PyTorch."""

RECTIFIERS = (nn.ReLU, nn.LeakyReLU, LeakyReLU)
"""What a repair may have exchanged."""


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
            InputError: if the model has no such module, or another one there; it is then left as it was.
        """
        known = dict(model.named_modules())
        for path in (*self.standardised, *(r.module for r in self.rectifiers)):
            if not path or path not in known:
                raise InputError(f"the model must have the modules that the recipe names; it has no {path!r}")
        for path in self.standardised:
            if type(known[path]) not in KINDS and not isinstance(known[path], tuple(KINDS.values())):
                raise InputError(f"{path!r} must be a Linear or a convolution, not a {type(known[path]).__name__}")
        for rectifier in self.rectifiers:
            if not isinstance(known[rectifier.module], RECTIFIERS):
                shown = type(known[rectifier.module]).__name__
                raise InputError(f"{rectifier.module!r} must be a ReLU or a LeakyReLU, not a {shown}")
        for path in self.standardised:
            if type(known[path]) in KINDS:
                put_standardised(model, path)
        for rectifier in self.rectifiers:
            put_rectifier(model, rectifier.module, rectifier.negative_slope, rectifier.channel_dim, rectifier.gain)
        return model


def recipe_of(model: nn.Module, rectifiers: Mapping[str, Rectifier]) -> Recipe:
    """What weights do not hold of a repaired model.

    Args:
        model: the model.
        rectifiers: that were put in, by module; leaky ones of earlier repairs, or the model's own, are added.
    """
    found = dict(rectifiers)
    standardised = []
    for path, module in model.named_modules():
        if isinstance(module, tuple(KINDS.values())):
            standardised.append(path)
        elif path and path not in found:
            found |= _rectifier_of(path, module)
    return Recipe(tuple(found.values()), tuple(standardised))


def _rectifier_of(path: str, module: nn.Module) -> dict[str, Rectifier]:
    if type(module) is nn.LeakyReLU:
        return {path: Rectifier(path, float(module.negative_slope))}
    if not isinstance(module, LeakyReLU) or module.clamp is not None or module.learnable:
        return {}
    slope = module.negative_slope
    slopes = tuple(slope.tolist()) if isinstance(slope, Tensor) and slope.ndim else float(slope)
    return {path: Rectifier(path, slopes, module.channel_dim, float(module.gain))}


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
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{shown} must be a readable JSON file: {error}") from error
    if not isinstance(data, Mapping) or data.get("kind") != "leaky-recipe":
        raise InputError(f"{shown} must be a recipe that leaky repair wrote")
    version = data.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= SCHEMA_VERSION:
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
    if not isinstance(dim, int) or isinstance(dim, bool) or not -MOST_DIMENSIONS <= dim < MOST_DIMENSIONS:
        numbers = False
    if not ok or not numbers or not gain > 0:
        raise InputError(f"{shown}: a rectifier must have module, negative_slope, channel_dim and gain, not {entry!r}")
    values = tuple(float(a) for a in slopes)
    return Rectifier(entry["module"], values if isinstance(slope, list) else values[0], int(dim or 0), float(gain))


def _is_finite(value: Any) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 1e300
