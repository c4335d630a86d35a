"""Observing many samples takes little more memory than the plain pass: measured in a fresh process."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from torch import nn
import leaky, leaky.observation.torch_route
torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(
    nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(64, 64, 3, padding=1), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(64 * 64, 256), nn.ReLU(),
    nn.Linear(256, 10),
).eval()
batches = (torch.randn(100, 3, 16, 16) for _ in range(100))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.no_grad():
    for _, batch in zip(range(10), batches):
        model(batch)
plain = peak()
record = leaky.observe(model, (torch.randn(100, 3, 16, 16) for _ in range(100)))
assert record.samples == 10_000 and len(record.sites) == 4
print((peak() - plain) / 1024)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="resource is a Unix module")
def test_ten_thousand_samples_within_fifty_megabytes() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=300)
    assert float(run.stdout) <= 50
