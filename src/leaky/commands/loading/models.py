"""MODEL → an `nn.Module` in memory, or the path of an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leaky.errors import InputError, MissingExtraError
from leaky.user_code import call_without_arguments, resolve

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Model:
    """A model to observe: a module or the path of an ONNX file, and what to call it."""

    model: nn.Module | Path
    name: str

    @property
    def network(self) -> nn.Module:
        """The module.

        Raises:
            InputError: if it is an ONNX file.
        """
        if isinstance(self.model, Path):
            raise InputError(f"MODEL must be code that makes a torch.nn.Module; {self.name!r} is not")
        return self.model

    @property
    def precision(self) -> str | None:
        """The floating type that floating arrays are cast to, "float32"; None where they stay as they are."""
        if isinstance(self.model, Path):
            return None
        kinds = (parameter.dtype for parameter in self.model.parameters() if parameter.is_floating_point())
        return next((str(kind).removeprefix("torch.") for kind in kinds), None)


def load_model(name: str, *, weights: str | None = None, seed: int | None = None) -> Model:
    """The model that `name` names.

    Args:
        name: "model.onnx", "package.module:name" or "path/to/file.py:name" of a module or of a function that returns
            one.
        weights: a file with its state dict, .pt or .safetensors.
        seed: of torch's random numbers before the model is built.

    Raises:
        InputError: if there is no such model, or the weights do not fit it.
    """
    if name.lower().endswith(".onnx"):
        return _onnx(name, weights)
    if ":" not in name and Path(name).suffix in (".pt", ".pth", ".safetensors", ".ckpt"):
        raise InputError(
            f"MODEL must be code or an .onnx file; {name!r} may hold weights alone: "
            f"leaky check path/to/file.py:model --weights {name}"
        )
    import torch
    from torch import nn

    def put_seed() -> None:
        if seed is not None:
            torch.manual_seed(seed)

    put_seed()
    found = resolve(name, "MODEL")
    if not isinstance(found, nn.Module) and callable(found):
        put_seed()  # again, whatever the import has drawn
        found = call_without_arguments(found, name, "MODEL")
    if not isinstance(found, nn.Module):
        raise InputError(f"MODEL {name!r} must be a torch.nn.Module or a function that returns one, not {_kind(found)}")
    if weights is not None:
        from leaky.observation.weights import load_weights, read_weights

        load_weights(found, read_weights(weights), f"the weights in {weights!r}")
    return Model(found, name)


def _onnx(name: str, weights: str | None) -> Model:
    if weights is not None:
        raise InputError(f"--weights is for models in code; {name!r} has its weights in it")
    if not Path(name).is_file():
        raise InputError(f"MODEL {name!r} must be an ONNX file; there is none")
    return Model(Path(name), Path(name).name)


def _kind(value: object) -> str:
    return "None" if value is None else f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def onnx_inputs(path: Path) -> list[str]:
    """The names of an ONNX model's inputs, weights left out.

    Raises:
        InputError: if the file is damaged.
        MissingExtraError: if onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError(f"reading {path.name!r} needs onnx: pip install 'leaky[onnx]'") from error
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # a damaged file can raise anything
        raise InputError(f"MODEL {str(path)!r} must be a whole ONNX file: {error}") from error
    weights = {initializer.name for initializer in graph.initializer}
    return [node.name for node in graph.input if node.name not in weights]
