"""README, CONTRIBUTING and the docs show what is: their code runs, their commands work, their links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import leaky
from leaky.commands import run
from leaky.documents import schema

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
NAMES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/json.md", "docs/rules/README.md", "docs/architecture.md")
PAGES = [ROOT / name for name in NAMES]

TRAIN = """
import torch
def build_model():
    return torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What README's commands take for given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "train", raising=False)
    (tmp_path / "train.py").write_text(TRAIN)
    digits = np.random.default_rng(0).standard_normal((1000, 64)).astype(np.float32)
    np.save("digits.npy", digits)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
    torch.save(model.state_dict(), "trained.pt")
    for name in ("yesterday.json", "today.json", "checkup.json"):
        leaky.check(model, digits).save(name)
    return tmp_path


def test_there_is_code_to_run() -> None:
    assert len(blocks("python")) >= 2
    assert len(blocks("sh")) >= 2


@pytest.mark.parametrize("code", blocks("python"), ids=["loop", "library", "function"])
def test_code_runs(code: str, folder: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loop = "        model(x).square().mean().backward(); optimizer.step()"
    code = code.replace("        ...  # your loop, unchanged", loop)
    loader = [(torch.ones(3, 4), torch.ones(3))] * 3
    exec(compile(code, "README.md", "exec"), {"model": model, "optimizer": optimizer, "loader": loader})


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("leaky ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("arguments", commands(), ids=lambda a: " ".join(a)[:40])
def test_commands_work(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "model.onnx" in arguments:
        pytest.importorskip("onnxruntime")
        write_onnx(folder / "model.onnx")
    assert run(arguments) == 0, capsys.readouterr().err


def write_onnx(path: Path) -> None:
    """A Linear and a Relu of 16 units on 64 inputs."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weight = np.random.default_rng(0).standard_normal((64, 16)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Relu", ["z"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", kind, ["n", 64])],
        [helper.make_tensor_value_info("y", kind, ["n", 16])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = {target for page in PAGES for target in re.findall(r"\bmake ([a-z][a-z-]*)", page.read_text("utf-8"))}
    assert {"demo", "test", "lint", "docs-images"} <= named
    assert [target for target in sorted(named) if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_pictures_need_no_network() -> None:
    for picture in (ROOT / "docs" / "images").glob("*.svg"):
        drawn = picture.read_text("utf-8")
        assert "@import" not in drawn
        assert "url(http" not in drawn
        assert "<script" not in drawn


def test_the_page_on_json_names_every_field_of_a_checkup() -> None:
    page = (ROOT / "docs" / "json.md").read_text("utf-8")
    whole = schema()
    fields = {*whole["properties"], *whole["$defs"]["record"]["properties"], *whole["$defs"]["finding"]["properties"]}
    assert [name for name in sorted(fields) if f'"{name}"' not in page and f"`{name}`" not in page] == []


def test_the_demo_tells_its_story(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    source = (ROOT / "examples" / "digits_demo.py").read_text("utf-8")
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "digits_demo.py").write_text(shorter(source))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    threads = torch.get_num_threads()
    namespace = {"__name__": "the_demo"}
    exec(compile((tmp_path / "examples" / "digits_demo.py").read_text(), "digits_demo.py", "exec"), namespace)
    try:
        namespace["main"]()  # type: ignore[operator]
    finally:
        torch.set_num_threads(threads)
        sys.modules.pop("digits_demo", None)
    out = capsys.readouterr().out
    written = json.loads((tmp_path / "leaky-demo" / "hit.json").read_text())
    silent = sum(len(site["silent"]) for site in written["sites"])
    assert f"Cut the {silent} silent units out" in out, "an independent count finds the same units"
    assert "by at most 0. They do nothing" in out
    assert re.search(r"  as it was: \S+, trained for a while ", out), "the treatments were tried"
    assert len(re.findall(r"\d+\.\d ± \d+\.\d%$", out, re.MULTILINE)) == 4, "before, after, left alone, repaired"
    assert re.search(r"^(0\.3 is better than 0|Undecided|No slope is better)", out, re.MULTILINE)
    assert [site["units"] for site in written["sites"]] == [64] * 4
    wasteful = json.loads((tmp_path / "leaky-demo" / "wasteful.json").read_text())
    assert {finding["level"] for finding in wasteful["findings"]} <= {"info"}, "waste is no reason to worry"


def shorter(source: str) -> str:
    """The demo with fewer networks and epochs."""
    source, changed = re.subn(r"TRIED_FOR = 5, 8, 5, 25", "TRIED_FOR = 2, 6, 1, 6", source)
    source, again = re.subn(r"SLOPES = 16, 10, ", "SLOPES = 16, 1, ", source)
    assert changed == again == 1
    return source.replace("confirm=0", "confirm=0, patience=0")
