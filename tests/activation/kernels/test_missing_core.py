"""What a program meets that was installed without a compiler: it is told once, at its first use of what is slower."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HIDDEN = """
import sys
sys.modules["leaky.activation.kernels._core"] = None
import leaky
"""
"""What a program meets that was installed without a compiler."""
FIRST_USES = {
    "build_info": "print(leaky.build_info()); leaky.build_info()",
    "an array": """
import numpy as np
for _ in range(2):
    leaky.leaky_relu(np.ones(4096, np.float32), 0.1)
""",
    "a tensor": """
import torch
for _ in range(2):
    leaky.leaky_relu(torch.ones(300_001, requires_grad=True), 0.1, clamp=2.0)
""",
    "a check": """
import torch
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())
for _ in range(2):
    leaky.check(model, torch.randn(9, 3))
""",
    "a watch": """
import torch
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())
for _ in range(2):
    with leaky.watch(model):
        model(torch.randn(9, 3)).sum().backward()
""",
    "trainings in processes": """
import numpy as np
from leaky.commands import run
open("study.py", "w").write('''
import numpy as np, leaky
def objective(slope, seed, report):
    return float(leaky.leaky_relu(np.random.default_rng(seed).normal(size=4096), 0.1).mean())
''')
assert run(["tune", "study.py:objective", "--slopes", "0", "0.1", "--seeds", "2", "--isolate"]) == 0
""",
}


def hidden(code, folder, **environment):
    """The lines on stderr of a fresh interpreter without the core."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LEAKY_")}
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN + code],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


@pytest.mark.parametrize("use", FIRST_USES)
def test_a_missing_core_is_said_once_at_its_first_use(use, tmp_path):
    _, (line,) = hidden(FIRST_USES[use], tmp_path)
    assert line.startswith("slower path in use: leaky was installed without its compiled core; ")
    assert "C++17 compiler" in line
    assert "LEAKY_INSTRUCTION_SET=plain" in line


def test_a_missing_core_is_told_by_build_info_and_silent_elsewhere(tmp_path):
    told, _ = hidden(FIRST_USES["build_info"], tmp_path)
    assert told.startswith("plain path: leaky was installed without its compiled core")
    assert hidden("import torch; leaky.leaky_relu(torch.ones(3), 0.1)", tmp_path) == ("", [])
    quiet = "import logging; logging.getLogger('leaky').setLevel(logging.ERROR); leaky.build_info()"
    assert hidden(quiet, tmp_path) == ("", [])
    assert hidden("leaky.build_info()", tmp_path, LEAKY_INSTRUCTION_SET="plain") == ("", [])
