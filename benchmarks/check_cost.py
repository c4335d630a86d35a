"""What a check costs: each batch after the first under `leaky.observe` ÷ the plain pass of the same batch.

    python -m benchmarks.check_cost

A plain pass and the next batch of an observation take turns in one process, on one thread, and what is compared is the
processor time of that thread, so that a busy machine slows both alike and waiting counts for neither; ratios are of
medians, with the quartiles of the paired ratios. The architectures come from transformers, monai, pytorchcv and
efficientnet_pytorch (installed with --no-deps) with random weights, and three tiny networks are written out. Results go
to benchmarks/results/check_cost.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import leaky
from benchmarks.timing import machine
from leaky.files import write_whole

RESULTS = Path(__file__).parent / "results" / "check_cost.json"
TARGET = 1.3
SETTLED = 5
"""Batches after which an observation is in its stride: the first is traced, and a few look at normalisations too."""

SPANS = (8, 16)
"""Batches of checks that people run: among them are those on which gates and attention are counted, 1, 4, 16 …"""


Made = tuple[nn.Module, list[Tensor]]


def _images(model: nn.Module, size: int = 128) -> Made:
    return model, [torch.randn(16, 3, size, size) for _ in range(2)]


def _tokens(model: nn.Module) -> Made:
    return model, [torch.randint(1000, (16, 64)) for _ in range(2)]


def _transformers(name: str, **options: Any) -> nn.Module:
    """A model of the transformers package with random weights."""
    import transformers

    made: nn.Module = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**options))
    return made


def _densenet() -> nn.Module:
    from monai.networks.nets import DenseNet121

    made: nn.Module = DenseNet121(spatial_dims=2, in_channels=3, out_channels=10)
    return made


def _efficientnet() -> nn.Module:
    from efficientnet_pytorch import EfficientNet

    made: nn.Module = EfficientNet.from_name("efficientnet-b0")
    return made


def _shufflenet() -> nn.Module:
    from pytorchcv.models.shufflenetv2 import shufflenetv2_w1

    made: nn.Module = shufflenetv2_w1()
    return made


def _mobilenet_v3() -> nn.Module:
    from pytorchcv.models.mobilenetv3 import mobilenetv3_large_w1

    made: nn.Module = mobilenetv3_large_w1()
    return made


def _mlp() -> Made:
    sizes = (64, 64, 64, 64)
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(64, 10)), [torch.randn(256, 64) for _ in range(2)]


def _small_cnn() -> Made:
    layers = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(9216, 10)]
    return nn.Sequential(*layers), [torch.randn(64, 1, 28, 28) for _ in range(2)]


class _Functional(nn.Module):
    """Functional activations in a residual stack."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(128, 128) for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + nn.functional.leaky_relu(layer(x), 0.1)
        return x


WIDTHS = [64, 128, 256, 512]
SMALL = {"num_hidden_layers": 4, "intermediate_size": 768}

CASES: dict[str, Callable[[], Made]] = {
    "ResNet-18": lambda: _images(_transformers("ResNet", layer_type="basic", depths=[2, 2, 2, 2], hidden_sizes=WIDTHS)),
    "DenseNet-121": lambda: _images(_densenet()),
    "MobileNetV1": lambda: _images(_transformers("MobileNetV1")),
    "MobileNetV2": lambda: _images(_transformers("MobileNetV2")),
    "EfficientNet-B0": lambda: _images(_efficientnet()),
    "ShuffleNetV2": lambda: _images(_shufflenet(), 224),
    "MobileNetV3-large": lambda: _images(_mobilenet_v3(), 224),
    "ConvNeXt, narrow": lambda: _images(
        _transformers("ConvNext", depths=[2, 2, 6, 2], hidden_sizes=[40, 80, 160, 320])
    ),
    "ViT, 4 layers of 192": lambda: _images(_transformers("ViT", **SMALL, num_attention_heads=3, hidden_size=192), 224),
    "BERT, 4 layers of 256": lambda: _tokens(_transformers("Bert", **SMALL, num_attention_heads=4, hidden_size=256)),
    "GPT-2, 4 layers of 256": lambda: _tokens(_transformers("GPT2", n_embd=256, n_layer=4, n_head=4, vocab_size=1000)),
    "MLP 64-64³-10, batch 256": _mlp,
    "CNN of 2 convolutions, 64×28²": _small_cnn,
    "residual stack, functional calls": lambda: (_Functional(), [torch.randn(256, 128) for _ in range(2)]),
}


def measure(make: Callable[[], Made], seconds: float, least: int = 12) -> dict[str, Any]:
    """Ratios of one architecture.

    Args:
        make: gives the model and two batches.
        seconds: to spend once `least` turns are done.
        least: turns at the least.
    """
    torch.manual_seed(0)
    model, batches = make()
    model.eval()
    plain: list[float] = []
    checked: list[float] = []
    times = {"begun": time.perf_counter(), "handed": 0.0}

    def turns() -> Iterator[Tensor]:
        while len(plain) < least + SETTLED or time.perf_counter() - times["begun"] < seconds:
            batch = batches[len(plain) % 2]
            before = time.thread_time()
            with torch.no_grad():
                other(batch)
            plain.append(time.thread_time() - before)
            times["handed"] = time.thread_time()
            yield batch

    other, _ = make()  # without the observation's hooks
    other.load_state_dict(model.state_dict())
    other.eval()
    seen = leaky.observe(model, turns(), progress=lambda _: checked.append(time.thread_time() - times["handed"]))
    settled = [c / p for c, p in zip(checked[SETTLED:], plain[SETTLED:], strict=True)]
    low, _, high = statistics.quantiles(settled, n=4)
    base = statistics.median(plain[1:])
    spans = {f"mean of {n - 1} after the first": statistics.fmean(checked[1:n]) / base for n in SPANS}
    return {
        "plain_seconds": base,
        "ratio": statistics.median(checked[SETTLED:]) / base,
        "quartiles": [low, high],
        "second_to_fifth": statistics.median(checked[1:SETTLED]) / base,
        "first": checked[0] / base,
        **spans,
        "batches": len(checked),
        "sites": len(seen.sites),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="an architecture")
    parser.add_argument("--only", default="", help="names that contain this")
    parser.add_argument("--keep", action="store_true", help="write the results")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name, make in CASES.items():
        if given.only in name:
            try:
                case = measure(make, given.seconds)
            except ImportError as error:
                print(f"{name:34} left out: {error}", flush=True)
                continue
            low, high = case["quartiles"]
            print(
                f"{name:34} plain {case['plain_seconds'] * 1e3:8.2f} ms   later {case['ratio']:.2f} "
                f"[{low:.2f}, {high:.2f}]   second to fifth {case['second_to_fifth']:.2f}   first {case['first']:.1f}"
                f"   {'  '.join(f'{key} {value:.2f}' for key, value in case.items() if key.startswith('mean'))}",
                flush=True,
            )
            if given.keep:
                keep(name, case)


def keep(name: str, case: dict[str, Any]) -> None:
    """Put one architecture's ratios among the results: a run that is cut short keeps what it has."""
    kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    cases = {**kept.get("cases", {}), name: {**case, "load": os.getloadavg()[0]}}
    order = [each for each in CASES if each in cases]
    kept = {"machine": machine(), "threads": 1, "target": TARGET, "cases": {each: cases[each] for each in order}}
    write_whole(RESULTS, (json.dumps(kept, indent=1, ensure_ascii=False) + "\n").encode())


if __name__ == "__main__":
    main()
