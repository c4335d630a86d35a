"""Loads state dicts from files into models.

Files of weights come from strangers: .pt is read with `weights_only`, so nothing in it is executed. Checkpoints that
hold the state dict under a key, and names with the prefixes of wrappers (DataParallel, torch.compile), are understood.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leaky.errors import InputError, MissingExtraError
from leaky.text import listed

NESTED_UNDER = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
"""Where checkpoints keep the state dict, in the order of trying."""
WRAPPERS = frozenset({"module", "_orig_mod"})
"""Parts of a name that DataParallel and torch.compile put in."""
OWNERS = ("model", "net", "network")
"""First parts of every name in checkpoints of trainers that hold the model as an attribute."""


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The state dict in a .pt, .pth, .ckpt or .safetensors file, on the CPU.

    Raises:
        InputError: if the file is damaged, holds other Python objects or no state dict.
        MissingExtraError: if it is .safetensors and that package is not installed.
    """
    shown = repr(os.fspath(path))
    if not Path(path).is_file():
        raise InputError(f"the weights must be a file; there is none at {shown}")
    content = _safetensors(path, shown) if Path(path).suffix == ".safetensors" else _pickled(path, shown)
    return _state_dict(content, shown)


def load_weights(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Put a state dict into a model.

    Args:
        model: that gets the weights.
        state: from name to tensor; wrappers' prefixes are put right.
        source: what to call it in messages.

    Raises:
        InputError: if a name is missing or too many, or a shape differs.
    """
    own = model.state_dict(keep_vars=True)
    state = _renamed(state, list(own))
    known = {name: tensor for name, tensor in state.items() if name in own}
    wrong = [
        f"{name!r} is {tuple(tensor.shape)} where the model has {tuple(own[name].shape)}"
        for name, tensor in known.items()
        if not nn.parameter.is_lazy(own[name]) and tensor.shape != own[name].shape
    ]
    if wrong:
        raise _misfit(source, [], [], wrong)
    unreal = [f"{name!r} is {words}" for name, tensor in known.items() if (words := _unlike(tensor, own[name]))]
    if unreal:
        raise InputError(f"{source} must hold plain numbers as the model does: {listed(unreal, 3)}")
    # torch decides what is missing: it translates the names of older versions of its own modules.
    try:
        result = model.load_state_dict(state, strict=False)
    except RuntimeError as error:  # what a module's own loading makes of it
        raise InputError(f"{source} must fit the model: {' '.join(str(error).split())}") from error
    missing = [name for name in result.missing_keys if not name.endswith("num_batches_tracked")]
    if missing or result.unexpected_keys:
        raise _misfit(source, missing, result.unexpected_keys, [])


def _safetensors(path: str | os.PathLike[str], shown: str) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtraError(f"reading {shown} needs safetensors: pip install 'leaky[safetensors]'") from error
    try:
        return dict(load_file(path, device="cpu"))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{shown} must be a whole safetensors file: {error}") from error


def _pickled(path: str | os.PathLike[str], shown: str) -> Any:
    if zipfile.is_zipfile(path):
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise InputError(
                    f"{shown} must hold a state dict; it is a TorchScript program: save model.state_dict() instead"
                )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything
        with Path(path).open("rb") as stream:
            known = stream.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
        if known and ("weights_only" in str(error) or "Unsupported" in str(error)):
            raise InputError(
                f"{shown} must hold tensors alone; it holds other Python objects, which leaky never unpickles: "
                "save model.state_dict() instead"
            ) from error
        reason = (str(error) or type(error).__name__).splitlines()[0] if known else "it does not begin like one"
        raise InputError(f"{shown} must be a whole file of torch.save: {reason}") from error


def _state_dict(content: Any, shown: str) -> dict[str, Tensor]:
    """The state dict itself, also where a checkpoint holds it under a key."""
    if isinstance(content, Mapping):
        for candidate in (content, *(content.get(key) for key in NESTED_UNDER)):
            if isinstance(candidate, Mapping) and candidate:
                tensors = {k: v for k, v in candidate.items() if isinstance(k, str) and isinstance(v, Tensor)}
                if len(tensors) == len(candidate) or (tensors and candidate is not content):
                    return tensors
    keys = f" with the keys {', '.join(map(repr, list(content)[:6]))}" if isinstance(content, Mapping) else ""
    raise InputError(
        f"{shown} must hold a state dict, itself or under one of {', '.join(NESTED_UNDER)}; "
        f"it holds a {type(content).__name__}{keys}"
    )


def _renamed(state: Mapping[str, Tensor], own: list[str]) -> dict[str, Tensor]:
    """`state` under the model's own names, where wrappers' prefixes are all that differs; else as it is."""
    wanted = {_bare(name): name for name in own}
    for owner in ("", *OWNERS):
        bare = {_bare(name): name for name in state}
        if owner:
            if not all(name.startswith(f"{owner}.") for name in bare):
                continue
            bare = {name.removeprefix(f"{owner}."): full for name, full in bare.items()}
        if len(bare) == len(state) and bare.keys() & wanted.keys() and bare.keys() <= wanted.keys():
            return {wanted[name]: state[full] for name, full in bare.items()}
    return dict(state)


def _unlike(tensor: Tensor, own: Tensor) -> str:
    """The reason why one tensor cannot be copied into the other; "" if there is none."""
    if tensor.is_meta:
        return "on the meta device, without numbers"
    if tensor.layout is not own.layout:
        return str(tensor.layout).removeprefix("torch.")
    return "complex" if tensor.is_complex() and not own.is_complex() else ""


def _bare(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _misfit(source: str, missing: list[str], unknown: list[str], wrong: list[str]) -> InputError:
    faults = [f"{len(missing)} names of the model are missing ({listed(missing, 3)})"] if missing else []
    faults += [f"{len(unknown)} names are not the model's ({listed(unknown, 3)})"] if unknown else []
    faults += [f"{len(wrong)} shapes differ ({listed(wrong, 3)})"] if wrong else []
    return InputError(f"{source} must fit the model: {'; '.join(faults)}")
