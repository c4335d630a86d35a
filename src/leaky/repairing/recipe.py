"""What weights cannot hold of a repair, as a file: which rectifier was swapped for which leaky one."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from leaky import documents
from leaky.activation.torch import LeakyReLU
from leaky.documents import came
from leaky.errors import InputError
from leaky.repairing.operations.standardised import KINDS
from leaky.repairing.operations.standardising import put_standardised
from leaky.repairing.operations.swapping import put_rectifier
from leaky.repairing.snapshot import whole_or_not_at_all
from leaky.text import counted, named, printable

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

    def __post_init__(self) -> None:
        slopes = self.negative_slope if isinstance(self.negative_slope, tuple) else (self.negative_slope,)
        if not slopes or not all(math.isfinite(slope) for slope in slopes):
            raise InputError(f"negative_slope must be a finite number or some of them, not {came(self.negative_slope)}")
        if not 0 < self.gain < math.inf:
            raise InputError(f"gain must be a positive finite number, not {came(self.gain)}")
        if not -MOST_DIMENSIONS <= self.channel_dim < MOST_DIMENSIONS:
            raise InputError(f"channel_dim must be a dimension of a tensor, not {came(self.channel_dim)}")

    @property
    def words(self) -> str:
        """What it is, as Python has it."""
        slopes = self.negative_slope
        shown = (
            f"{len(slopes)} slopes in {min(slopes):g} … {max(slopes):g}" if isinstance(slopes, tuple) else f"{slopes:g}"
        )
        return f"LeakyReLU({shown}{f', gain={self.gain:g}' if self.gain != 1 else ''})"


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

    def __repr__(self) -> str:
        return f"<Recipe of {counted(len(self.rectifiers) + len(self.standardised), 'change')}>"

    def __str__(self) -> str:
        """A line a change."""
        lines = [f"{printable(path)} standardises its inputs" for path in self.standardised]
        lines += [f"{printable(each.module)} becomes {each.words}" for each in self.rectifiers]
        return "\n".join(lines) or "nothing but the weights"

    def to_dict(self) -> documents.Json:
        """The recipe as JSON-safe data, a document of the kind "recipe"."""
        return documents.as_data("recipe", self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recipe as JSON, whole or not at all; `leaky.load` reads it."""
        documents.save(path, "recipe", self)

    def apply(self, model: nn.Module) -> nn.Module:
        """Put the rectifiers into a model that was built as the repaired one was before its repair.

        Raises:
            InputError: if the model has no such module, or another one there; it is then left as it was.
        """
        known = dict(model.named_modules())
        for path in (*self.standardised, *(r.module for r in self.rectifiers)):
            if not path or path not in known:
                raise InputError(f"the model must have the modules that the recipe names; it has no {named(path)}")
        for path in self.standardised:
            if type(known[path]) not in KINDS and not isinstance(known[path], tuple(KINDS.values())):
                raise InputError(f"{named(path)} must be a Linear or a convolution, not a {type(known[path]).__name__}")
        for rectifier in self.rectifiers:
            if not isinstance(known[rectifier.module], RECTIFIERS):
                shown = type(known[rectifier.module]).__name__
                raise InputError(f"{named(rectifier.module)} must be a ReLU or a LeakyReLU, not a {shown}")

        def put_in() -> nn.Module:
            for path in self.standardised:
                if type(known[path]) in KINDS:
                    put_standardised(model, path)
            for rectifier in self.rectifiers:
                put_rectifier(model, rectifier.module, rectifier.negative_slope, rectifier.channel_dim, rectifier.gain)
            return model

        return whole_or_not_at_all(model, put_in)


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
        InputError: if it is no recipe, is damaged, or was written by a newer leaky.
    """
    recipe: Recipe = documents.load_as("recipe", source)
    return recipe
