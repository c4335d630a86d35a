"""Which instruction set runs, what the environment asks for, and what a child process finds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.activation.kernels.reference import required_core

import leaky
from leaky.activation import kernels

TESTS = Path(__file__).parent


def run(code, **environment):
    """A fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, timeout=300
    )


def test_what_is_in_use_is_told():
    core = required_core()
    info = leaky.build_info()
    assert info.compiled
    assert info.instruction_set == core.instruction_set()
    assert info.instruction_set in info.available
    assert info.available[0] == "baseline"
    assert info.instruction_set in str(info)
    assert info.reason in str(info)


def test_the_plain_path_can_be_asked_for_and_gives_the_same():
    code = """
import leaky, torch
info = leaky.build_info()
assert not info.compiled and info.instruction_set == "plain" and "LEAKY_INSTRUCTION_SET" in info.reason, info
x = torch.linspace(-3, 3, 300001, requires_grad=True)
y = leaky.leaky_relu(x, 0.1, clamp=2.0)
y.sum().backward()
print(y.detach().double().sum().item(), x.grad.double().sum().item())
"""
    plain = run(code, LEAKY_INSTRUCTION_SET="plain")
    assert plain.returncode == 0, plain.stderr
    x = torch.linspace(-3, 3, 300001, requires_grad=True)
    y = leaky.leaky_relu(x, 0.1, clamp=2.0)
    y.sum().backward()
    # torch adds the sum of the values up in the order of its threads, of which another test may have left fewer.
    expected = [y.detach().double().sum().item(), x.grad.double().sum().item()]
    assert [float(word) for word in plain.stdout.split()] == pytest.approx(expected, rel=1e-14)


def test_an_instruction_set_that_is_not_there_is_an_error_that_names_the_others():
    required_core()
    wrong = run("import leaky; leaky.build_info()", LEAKY_INSTRUCTION_SET="avx1024")
    assert wrong.returncode != 0
    assert "LEAKY_INSTRUCTION_SET must be one of baseline" in wrong.stderr
    assert "'avx1024'" in wrong.stderr


def test_a_missing_core_is_said_so():
    code = """
import sys
sys.modules["leaky.activation.kernels._core"] = None
import leaky
print(leaky.build_info())
"""
    missing = run(code)
    assert missing.returncode == 0, missing.stderr
    assert missing.stdout.startswith("plain path: ")
    assert "core" in missing.stdout


@pytest.mark.skipif(
    bool(os.environ.get("LEAKY_INSTRUCTION_SET")), reason="this run is itself about one instruction set"
)
@pytest.mark.parametrize("name", ["baseline", "avx2", "avx512"])
def test_every_instruction_set_of_this_machine_passes_every_kernel_test(name):
    required_core()
    available = kernels.build_info().available
    if name not in available:
        pytest.skip(f"this machine has {', '.join(available)}")
    if name == available[-1]:
        return  # what the other tests of this run use
    files = ["test_elementwise.py", "test_statistics.py", "test_gradient_statistics.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(str(TESTS / f) for f in files)]
    result = subprocess.run(
        [*command, "-k", "not past_two_to_the_31"],
        env=os.environ | {"LEAKY_INSTRUCTION_SET": name, "LEAKY_REQUIRE_CORE": "1"},
        cwd=TESTS.parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes_with_threads_of_its_own():
    required_core()
    code = """
import os, torch
from leaky.activation import kernels
core = kernels.core()
x = torch.randn(3_000_000)
def work():
    y = torch.empty_like(x)
    core.forward(0, x.data_ptr(), y.data_ptr(), 1, x.numel(), 0, 1, 0.1, 0, 1.0, float("inf"), 0, 0, False, 4)
    return bool((y == torch.where(x > 0, x, 0.1 * x)).all())
torch.set_num_threads(1)  # torch's own threads do not survive a fork
assert work()
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if work() and work() else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
assert work()
print("done")
"""
    result = run(code)
    assert result.stdout.strip() == "done", result.stderr


def test_many_callers_at_once():
    from concurrent.futures import ThreadPoolExecutor

    core = required_core()
    x = torch.randn(1_500_000, generator=torch.Generator().manual_seed(0))
    expected = torch.where(x > 0, x, 0.1 * x)

    def work(_):
        y = torch.empty_like(x)
        core.forward(0, x.data_ptr(), y.data_ptr(), 1, x.numel(), 0, 1, 0.1, 0, 1.0, float("inf"), 0, 0, False, 3)
        return torch.equal(y, expected)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(24)))


def test_a_daemon_thread_in_a_kernel_does_not_disturb_the_end_of_the_program():
    program = """
import threading, time
import numpy as np
import leaky
x = np.ones(2**20, np.float32)
started = threading.Event()
def loop():
    while True:
        leaky.leaky_relu(x, 0.1)
        started.set()
for _ in range(3):
    threading.Thread(target=loop, daemon=True).start()
started.wait()
time.sleep(0.05)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
