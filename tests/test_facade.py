"""The public face: exactly these names, documented, and light to import."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import leaky

PUBLIC = {
    "Checkup",
    "LeakyError",
    "LeakyReLU",
    "Record",
    "analyse",
    "apply_recipe",
    "build_info",
    "calibrate",
    "check",
    "compare",
    "diagnose",
    "initialize",
    "leaky_relu",
    "load",
    "observe",
    "operations",
    "plot",
    "prune",
    "repair",
    "theory",
    "tune",
    "watch",
}

HEAVY = ("torch", "matplotlib", "onnx", "onnxruntime", "safetensors", "scipy", "sklearn", "jax", "keras")


def test_all_is_exactly_the_public_set() -> None:
    assert set(leaky.__all__) == PUBLIC
    assert len(leaky.__all__) == len(PUBLIC) <= 25
    assert set(leaky.__all__) <= set(dir(leaky))


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_public_name_exists_and_has_a_docstring(name: str) -> None:
    value = getattr(leaky, name)
    assert inspect.getdoc(value)


def homes() -> dict[str, str]:
    """Where type checkers find each public name."""
    tree = ast.parse(Path(leaky.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name: str(node.module) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_type_checkers_see_the_same_homes_as_the_interpreter() -> None:
    assert homes().keys() == {*leaky.__all__}
    for name, home in homes().items():
        assert getattr(importlib.import_module(home), name) is getattr(leaky, name)


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'leaky' has no attribute 'chek'"):
        _ = leaky.chek  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(name for name in PUBLIC if inspect.isfunction(getattr(leaky, name))))
def test_a_public_function_says_what_comes_back_and_what_is_raised(name: str) -> None:
    function = getattr(leaky, name)
    words = inspect.getdoc(function) or ""
    sections = ["Args:"] * bool(inspect.signature(function).parameters) + ["Returns:", "Raises:"]
    assert [line for line in words.splitlines() if line in sections] == sections


def undocumented(module: ModuleType) -> list[str]:
    """Public functions, classes and methods of a module without a docstring of their own or of a base."""
    here = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
    functions = [value for value in here if inspect.isfunction(value) or inspect.isclass(value)]
    methods = [m for c in functions if inspect.isclass(c) for m in vars(c).values() if inspect.isfunction(m)]
    return [
        value.__qualname__
        for value in functions + methods
        if not value.__name__.startswith("_") and not inspect.getdoc(_bound(value))
    ]


def _bound(value: Any) -> Any:
    """The method as its class has it, so that `getdoc` finds the docstring of the base that it overrides."""
    owner, _, name = value.__qualname__.rpartition(".")
    return getattr(getattr(sys.modules[value.__module__], owner), name) if owner else value


@pytest.mark.parametrize("home", sorted({*homes().values(), "leaky.theory"} - {"leaky"}))
def test_every_function_beside_a_public_one_is_documented(home: str) -> None:
    assert undocumented(importlib.import_module(home)) == []


def test_undocumented_finds_what_has_no_docstring() -> None:
    module = ModuleType("bare")

    def function() -> None: ...

    function.__module__, function.__qualname__ = "bare", "function"
    module.function = function  # type: ignore[attr-defined]
    assert undocumented(module) == ["function"]


@pytest.mark.parametrize(
    "run",
    [
        "import leaky",
        "import leaky.record, leaky.errors, leaky.documents, leaky.diagnosis, leaky.theory, leaky.checkup",
        "import leaky.report.terminal, leaky.report.html, leaky.report.shown, leaky.report.drawing",
        "import leaky.commands; assert leaky.commands.run(['--help']) == 0",
        "import leaky.commands; assert leaky.commands.run(['check', '--help']) == 0",
    ],
)
def test_what_must_be_light_imports_nothing_heavy(run: str) -> None:
    program = f"import sys; {run}; print('loaded:', sorted(sys.modules.keys() & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "loaded: []" in done.stdout


@pytest.mark.parametrize("run", ["import leaky", "import leaky.commands; leaky.commands.run(['--help'])"])
def test_the_first_word_comes_without_numpy_and_rich(run: str) -> None:
    program = f"import sys; {run}; print('loaded:', sorted(sys.modules.keys() & {{'numpy', 'rich'}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "loaded: []" in done.stdout


def test_the_version_is_the_distributions() -> None:
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    declared = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    assert declared is not None
    assert leaky.__version__ == declared[1]


@pytest.mark.parametrize("name", ["recentre", "revive", "standardise", "swap"])
def test_an_operation_that_is_of_use_by_itself_is_a_function_of_one_public_place(name: str) -> None:
    assert name in leaky.operations.__all__
    assert callable(getattr(leaky.operations, name))


def results() -> dict[str, Any]:
    """What the public functions return of a network of 128 units, every second of which is dead."""
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 128), torch.nn.ReLU(), torch.nn.Linear(128, 3))
    data = torch.randn(1500, 6)
    with torch.no_grad():
        model[0].bias[::2] = -50.0
    checkup, analysis = leaky.check(model, data=data), leaky.analyse(model, data=data)
    repair = leaky.repair(model, checkup, data=data)
    done = repair.apply()
    return {
        "record": leaky.observe(model, data=data), "checkup": checkup, "diagnosis": checkup.diagnosis,
        "verdicts": checkup.verdicts["1"], "site": checkup.record.sites[0],
        "statistics": checkup.record.sites[0].statistics, "comparison": leaky.compare(checkup, checkup),
        "finding": checkup.findings[0], "analysis": analysis, "structure": analysis.structure,
        "graph": leaky.theory.plain(100), "slope": leaky.theory.tailored_slope(analysis),
        "propagation": leaky.theory.signal_propagation(analysis), "repair": repair, "plan": repair.plan,
        "repaired": done, "pruning": leaky.prune(model, data=data), "recipe": done.recipe,
        "calibration": leaky.calibrate(model, data=data), "initialization": leaky.initialize(model, data=data),
    }  # fmt: skip


def test_whatever_comes_back_is_shown_in_a_few_lines_and_data_is_the_name_of_the_data() -> None:
    shown = {name: repr(result) for name, result in results().items()}
    assert {name: text for name, text in shown.items() if len(text) > 400 or text.count("\n") > 3} == {}
    assert shown["verdicts"].startswith("<UnitVerdicts: silent 0, 2, 4, 6, 8, 10 and 58 more; dead 0, 2")
    assert shown["analysis"] == "<Analysis of a Sequential: 1 site>"
