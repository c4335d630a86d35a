"""Screenshots held against stored ones: small, and with tolerance for another machine's fonts.

`LEAKY_STORE_SCREENSHOTS=1 pytest tests/page` stores them anew; look at each before it is committed.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest

STORED = Path(__file__).parent / "screenshots"
SCALE = 3
MEAN_TOLERANCE, PART_TOLERANCE = 0.02, 0.04
"""Of the mean difference of all pixels, and of the share that differs by more than an eighth; both of full range."""


def assert_looks(screenshot: bytes, name: str) -> None:
    """The screenshot, made smaller, is the stored one within the tolerances."""
    image_module = pytest.importorskip("PIL.Image", reason="screenshots are compared with Pillow")
    image = image_module.open(io.BytesIO(screenshot)).convert("RGB")
    image = image.resize((image.width // SCALE, image.height // SCALE), image_module.Resampling.BOX)
    path = STORED / f"{name}.png"
    if os.environ.get("LEAKY_STORE_SCREENSHOTS"):
        path.parent.mkdir(exist_ok=True)
        image.quantize(64, dither=image_module.Dither.NONE).save(path, optimize=True)
    stored = np.asarray(image_module.open(path).convert("RGB"), np.float64) / 255
    shown = np.asarray(image, np.float64) / 255
    assert stored.shape == shown.shape, f"{name} is {shown.shape}, stored {stored.shape}"
    mean, part = differences(stored, shown)
    assert mean <= MEAN_TOLERANCE, f"{name} differs by {mean:.3f} on average"
    assert part <= PART_TOLERANCE, f"{part:.1%} of {name} looks different"


def differences(stored: np.ndarray, shown: np.ndarray) -> tuple[float, float]:  # type: ignore[type-arg]
    """Mean absolute difference, and the share of the pixels in which a channel differs by more than an eighth."""
    apart = np.abs(stored - shown)
    return float(apart.mean()), float((apart.max(axis=2) > 1 / 8).mean())
