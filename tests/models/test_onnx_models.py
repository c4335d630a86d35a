"""Networks that other people trained, in ONNX: silent units are those that a plain count finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper
from tests.models.packages import package

import leaky
from leaky.checkup import Checkup

pytestmark = pytest.mark.models

Array = NDArray[Any]


def silent_by_count(path: Path, feeds: Iterable[Mapping[str, Array]]) -> list[list[int]]:
    """Units above 0 on no sample, from what goes into each Relu or LeakyRelu; units are axis 1."""
    proto = onnx.load(path)
    names = [node.input[0] for node in proto.graph.node if node.op_type in ("Relu", "LeakyRelu")]
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    runs = [[(z > 0).any(axis=(0, *range(2, z.ndim))) for z in session.run(names, dict(feed))] for feed in feeds]
    return [np.flatnonzero(~np.any(fired, axis=0)).tolist() for fired in zip(*runs, strict=True)]


def silent(checkup: Checkup) -> list[list[int]]:
    return [list(checkup.verdicts[site.name].silent) for site in checkup.record.sites]


def voice(seconds: float, pitch: float, noise: float) -> Array:
    """Harmonics of a pitch in syllables, over noise, at 16 kHz."""
    time = np.arange(int(16000 * seconds)) / 16000
    tone = sum(np.sin(2 * np.pi * pitch * k * time + k) / k for k in range(1, 12))
    syllables = np.maximum(0, np.sin(2 * np.pi * 3 * time)) ** 2
    return 0.1 * tone * syllables + noise * np.random.default_rng(int(pitch)).standard_normal(len(time))


def power(sound: Array, size: int, hop: int) -> Array:
    """|STFT|², shape (frames, size // 2 + 1)."""
    padded = np.pad(sound, size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * np.hanning(size)
    return np.abs(np.fft.rfft(frames)) ** 2


def log_mel(sound: Array) -> Array:
    """What DNSMOS takes: 900 frames of 120 mel bands, in dB below the loudest, scaled to [-1, 1]."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 122) / 2595) - 1)
    low, middle, high = (edges[i : i + 120, None] for i in range(3))
    frequency = np.linspace(0, 8000, 161)
    bands = np.clip(np.minimum((frequency - low) / (middle - low), (high - frequency) / (high - middle)), 0, None)
    mel = 10 * np.log10(np.maximum(power(sound, 321, 160) @ (bands * 2 / (high - low)).T, 1e-10))
    return ((np.maximum(mel - mel.max(), -80) + 40) / 40).astype(np.float32)[:900]


def test_dnsmos() -> None:
    path = package("speechmos") / "dnsmos_models" / "model_v8.onnx"
    noises = (0.0005, 0.003, 0.05)
    data = np.stack([log_mel(voice(9.01, pitch, noises[i % 3])) for i, pitch in enumerate(range(90, 270, 30))])
    checkup = leaky.check(path, data)
    assert [(site.activation, site.units) for site in checkup.record.sites] == [
        ("ReLU", n) for n in (32, 32, 32, 32, 64, 64, 64)
    ]  # fmt: skip
    assert (checkup.record.samples, checkup.record.not_examined) == (len(data), ())
    assert silent(checkup) == silent_by_count(path, ({"input_1": row[None]} for row in data))
    assert 10 < sum(map(len, silent(checkup))) < 200


def test_plcmos() -> None:
    path = package("speechmos") / "plcmos_models" / "plcmos_v2.onnx"
    rng = np.random.default_rng(0)
    feeds = [
        {
            "degraded_audio": np.log(power(voice(seconds, 90 + 20 * i, 0.003), 512, 256) + 1e-12)[None, None] / 20,
            "rater_embed": rng.standard_normal((1, 64)),
        }
        for i, seconds in enumerate((0.5, 1.0, 0.7, 1.0, 1.3, 0.5))
    ]
    feeds = [{name: value.astype(np.float32) for name, value in feed.items()} for feed in feeds]
    checkup = leaky.check(path, feeds)
    sites = checkup.record.sites
    assert [site.units for site in sites] == [32, 64, 128, 128, 128, 128, 128, 128, 64, 32, 32, 32, 32, 32]
    assert {(site.activation, float(site.negative_slope[0])) for site in sites} == {
        ("LeakyReLU", float(np.float32(0.1)))
    }
    assert checkup.record.samples == len(feeds)
    assert ["Sigmoid saturates" in item.reason for item in checkup.record.not_examined] == [True]
    assert silent(checkup) == silent_by_count(path, feeds)
    assert 10 < sum(map(len, silent(checkup))) < 400


def test_basic_pitch() -> None:
    path = package("basic_pitch") / "saved_models" / "icassp_2022" / "nmp.onnx"
    time = np.arange(43844) / 22050
    chords = [
        sum(np.sin(2 * np.pi * 440 * 2 ** ((note + step) / 12) * time) for step in (0, 4, 7))
        * np.exp(-3 * (time % 0.5))
        for note in (-24, -5, 12)
    ]
    data = np.stack([*chords, np.zeros(len(time))])[..., None].astype(np.float32)
    checkup = leaky.check(path, data)
    assert [(site.activation, site.units, site.samples) for site in checkup.record.sites] == [
        ("ReLU", 8, 4), ("ReLU", 32, 4), ("ReLU", 32, 4),
    ]  # fmt: skip
    assert ["Sigmoid saturates" in item.reason for item in checkup.record.not_examined] == [True]
    assert silent(checkup) == silent_by_count(path, [{"serving_default_input_2:0": data}])
    quiet = leaky.check(path, data[3:])
    assert silent(quiet) == silent_by_count(path, [{"serving_default_input_2:0": data[3:]}])
    assert sum(map(len, silent(quiet))) > sum(map(len, silent(checkup)))
