"""`leaky repair`: the plan, the written files and that they rebuild the model, and what a user can get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import leaky
from leaky import commands
from leaky.observation.weights import load_weights, read_weights

MODEL = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
"""


def build() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(MODEL)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((1500, 6)).astype(np.float32))
    model = build()
    torch.save(model.state_dict(), tmp_path / "healthy.pt")
    with torch.no_grad():
        model[0].bias[:5] = -50.0
    torch.save(model.state_dict(), tmp_path / "sick.pt")
    with torch.no_grad():
        model[0].bias[:] = -50.0
    torch.save(model.state_dict(), tmp_path / "buried.pt")
    return tmp_path


def run(place: Path, *arguments: str, weights: str = "sick.pt") -> int:
    model, data = f"{place / 'net.py'}:build", str(place / "x.npy")
    return commands.run(["repair", model, "--data", data, "--weights", str(place / weights), *arguments])


def test_a_dry_run_shows_the_plan_and_writes_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(place.iterdir())
    assert run(place, "--dry-run") == 0
    assert "revive 1 units 0–4: they are dead or constant on the evidence" in capsys.readouterr().out
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_and_recipe_rebuild_the_repaired_model(
    place: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, recipe = place / f"out{suffix}", place / "recipe.json"
    assert run(place, "--out", str(out), "--recipe", str(recipe), "--negative-slope", ".1") == 0
    assert "Done, not judged: the outputs changed by" in capsys.readouterr().out
    assert json.loads(recipe.read_text())["rectifiers"][0]["module"] == "1"
    data = torch.from_numpy(np.load(place / "x.npy"))
    sick, repaired = build(), build()
    load_weights(sick, read_weights(place / "sick.pt"), "the sick weights")
    leaky.apply_recipe(repaired, recipe)
    load_weights(repaired, read_weights(out), "the repaired weights")
    torch.testing.assert_close(repaired(data), sick(data))
    assert leaky.observe(repaired, data).sites[0].firing_rate[:5].min() > 0.2


def test_a_healthy_model_is_left_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "--out", str(place / "out.pt"), weights="healthy.pt") == 0
    assert "Nothing to repair." in capsys.readouterr().out
    before, after = read_weights(place / "healthy.pt"), read_weights(place / "out.pt")
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_repair_that_makes_things_worse_is_rolled_back_and_not_written(place: Path) -> None:
    (place / "worse.py").write_text("scores = [1.0]\ndef metric(model):\n    return scores.pop() if scores else 0.0\n")
    assert run(place, "--out", str(place / "same.pt"), "--validate", f"{place / 'worse.py'}:metric") == 1
    assert not (place / "same.pt").exists()
    assert not (place / "same.pt.recipe.json").exists()


def test_mistakes_end_in_a_line_and_status_2(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place) == 2
    assert run(place, "--out", str(place / "out.npz")) == 2
    error = capsys.readouterr().err
    assert "--out says where" in error
    assert "must end in .pt or .safetensors, not '.npz'" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "nowhere/out.pt"], "--out must be a file in a folder that exists"),
        (["--out", "folder.pt"], "--out must be a file in a folder that exists"),
        (["--out", "out.pt", "--recipe", "folder.pt"], "--recipe must be a file in a folder that exists"),
        (["--out", "out.pt", "--recipe", ""], "--recipe must be a file in a folder that exists"),
        (["--out", "out.pt", "--recipe", "out.pt"], "read or written as something else"),
        (["--out", "out.pt", "--recipe", "x.npy"], "read or written as something else"),
        (["--out", "out.pt", "--recipe", "net.py"], "read or written as something else"),
        (["--out", "out.pt", "--max-change", "nan"], "'nan' is not a finite number"),
        (["--out", "out.pt", "--negative-slope", "5"], "negative_slope must be from 0 to 1"),
    ],
)
def test_nothing_is_written_where_something_would_be_lost(
    place: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "folder.pt").mkdir()
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    named = [str(place / option) if "." in option and not option.startswith("-") else option for option in options]
    assert run(place, *named) == 2
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_a_recipe_that_is_needed_is_written_beside_the_weights(place: Path) -> None:
    out = place / "out.pt"
    assert run(place, "--out", str(out), "--negative-slope", ".1") == 0
    model = leaky.apply_recipe(build(), f"{out}.recipe.json")
    load_weights(model, read_weights(out), str(out))


METRIC = """
import numpy as np
import torch
from torch import nn

X = torch.tensor(np.load(__file__.replace("metric.py", "x.npy")))
Y = (X[:, 0] > 0).long()
NOT_A_FUNCTION = 3

def accuracy(model):
    with torch.no_grad():
        return float((model(X).argmax(1) == Y).float().mean())

def loss(model):
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model(X), Y))

def train(model):
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X), Y).backward()
        optimizer.step()
"""


def test_the_users_metric_and_training_decide(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "metric.py").write_text(METRIC)
    code, out, recipe = f"{place / 'metric.py'}", place / "out.pt", place / "recipe.json"
    options = ["--validate", f"{code}:accuracy", "--train", f"{code}:train", "--out", str(out), "--recipe", str(recipe)]
    assert run(place, *options, weights="buried.pt") == 0
    printed = capsys.readouterr().out
    assert "as it was: " in printed
    assert "begun anew: " in printed
    model = leaky.apply_recipe(build(), recipe)
    load_weights(model, read_weights(out), str(out))
    x = torch.tensor(np.load(place / "x.npy"))
    assert float((model(x).argmax(1) == (x[:, 0] > 0).long()).float().mean()) > 0.9


def test_a_loss_may_be_the_metric(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "metric.py").write_text(METRIC)
    options = ["--validate", f"{place / 'metric.py'}:loss", "--lower-is-better", "--out", str(place / "out.pt")]
    assert run(place, *options, "--tolerance", "0.01") == 0
    assert "validation" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train", "metric.py:train"], "--train must come with --validate"),
        (["--validate", "metric.py:NOT_A_FUNCTION"], "must name a function of the model"),
        (["--validate", "metric.py:missing"], "must have 'missing'"),
    ],
)
def test_a_metric_that_is_none_is_named(
    place: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "metric.py").write_text(METRIC)
    at = [option.replace("metric.py", str(place / "metric.py")) for option in options]
    assert run(place, *at, "--out", str(place / "out.pt")) == 2
    assert message in capsys.readouterr().err
    assert not (place / "out.pt").exists()


def test_a_page_of_what_was_done(place: Path) -> None:
    assert (
        run(place, "--out", str(place / "out.pt"), "--html", str(place / "r.html"), "--html-dir", str(place / "r")) == 0
    )
    assert "leaky-data" in (place / "r.html").read_text()
    assert (place / "r" / "index.html").exists()


def test_a_page_of_a_plan(place: Path) -> None:
    assert run(place, "--dry-run", "--html", str(place / "plan.html")) == 0
    assert "revive 1 units 0–4" in (place / "plan.html").read_text()


def test_the_smaller_network_has_the_same_outputs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "--prune", "--out", str(place / "small.pt")) == 0
    assert "0.weight: 16 × 6 → 11 × 6" in capsys.readouterr().out
    sick, small = build(), nn.Sequential(nn.Linear(6, 11), nn.ReLU(), nn.Linear(11, 3))
    sick.load_state_dict(torch.load(place / "sick.pt"))
    small.load_state_dict(torch.load(place / "small.pt"))
    x = torch.from_numpy(np.load(place / "x.npy"))
    torch.testing.assert_close(small(x), sick(x), rtol=1e-5, atol=1e-6)


def test_a_look_at_what_could_be_pruned_writes_nothing(place: Path) -> None:
    before = sorted(place.iterdir())
    assert run(place, "--prune", "--dry-run") == 0
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize("more", [["--negative-slope", "0.1"], ["--html", "page.html"], ["--recipe", "r.json"]])
def test_pruning_changes_no_function(place: Path, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "--prune", "--dry-run", *more) == 2
    assert f"leave out {more[0]}" in capsys.readouterr().err
