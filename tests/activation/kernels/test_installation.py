"""`pip install .` from a clean checkout and from the sdist, with and without a compiler: the slow `install` group."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PARTS = ("src", "tools", "CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE", ".gitignore")
NO_COMPILER = {"CC": "/bin/false", "CXX": "/bin/false"}

pytestmark = pytest.mark.install


def pip(*arguments, **environment):
    """Pip without build isolation: what builds is what the tests' environment has."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def checkout(tmp_path_factory):
    """The sources without anything that was built; a new copy for each test, as a build leaves its cache behind."""
    pytest.importorskip("scikit_build_core")
    pytest.importorskip("nanobind")
    target = tmp_path_factory.mktemp("checkout")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        elif source.exists():
            shutil.copy(source, target / part)
    return target


@pytest.fixture
def sdist(checkout, tmp_path_factory):
    code = "import sys; from scikit_build_core.build import build_sdist; print(build_sdist(sys.argv[1]))"
    folder = tmp_path_factory.mktemp("sdist")
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=checkout, check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")
    return archive


def installed(source, folder, **environment):
    """Build a wheel, install it into a folder of its own, and ask it what it runs on."""
    pip("wheel", "--no-deps", "--no-build-isolation", "-w", str(folder / "wheels"), str(source), **environment)
    (wheel,) = (folder / "wheels").glob("leaky-*.whl")
    site = folder / "site"
    pip("install", "--no-deps", "--target", str(site), str(wheel))
    code = """
import sys, leaky, torch
assert leaky.__file__.startswith(sys.argv[1]), leaky.__file__
y = leaky.leaky_relu(torch.linspace(-2, 2, 300_001), 0.1, clamp=1.0)
assert abs(float(y.min()) + 0.2) < 1e-6 and float(y.max()) == 1.0
print(leaky.build_info())
"""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LEAKY_INSTRUCTION_SET")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(site)],
        env=clean | {"PYTHONPATH": str(site)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return wheel, done.stdout


def test_the_sdist_holds_the_kernels_and_nothing_that_was_built(sdist):
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    assert any(name.endswith("kernels/kernels.cpp") for name in names)
    assert any(name.endswith("CMakeLists.txt") for name in names)
    assert not [name for name in names if name.endswith((".so", ".o"))]


def test_with_a_compiler_the_core_is_installed(sdist, tmp_path):
    """From the sdist; `make test` itself has installed from the checkout, and a build of the kernels takes a minute."""
    if not (shutil.which("c++") and shutil.which("cmake")):
        pytest.skip("needs a C++ compiler and CMake")
    wheel, told = installed(sdist, tmp_path)
    assert told.startswith("compiled core, ")
    names = zipfile.ZipFile(wheel).namelist()
    assert any("kernels/_core" in name for name in names)
    assert not [name for name in names if name.endswith((".cpp", ".hpp"))]


@pytest.mark.parametrize("source", ["checkout", "sdist"])
def test_without_a_compiler_the_plain_path_is_installed(source, request, tmp_path):
    wheel, told = installed(request.getfixturevalue(source), tmp_path, **NO_COMPILER)
    assert told.startswith("plain path: ")
    assert "compiler" in told
    assert wheel.name.endswith("py3-none-any.whl")
