"""leaky's demo: one bad batch, and what became of the network; `make demo` runs it in about a minute.

Three acts on scikit-learn's digits, all seeded:
  1. trouble that costs: a network that reads 95% of the digits is fed one batch whose pixels nobody scaled.
     `leaky.watch` tells when, `leaky check` what happened, an independent look proves it, and `leaky.repair` brings
     the network back, over several seeds;
  2. which leak, then: on a network of 16 layers `leaky.tune` finds by how much a Leaky ReLU is better, at least;
  3. waste without harm: another network has as many dead units and loses nothing by it, and leaky says so.

`python examples/digits_demo.py` does the same where leaky[tune] and scikit-learn are installed.
"""

from __future__ import annotations

import copy
import itertools
import shlex
import statistics
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import leaky
from leaky.commands import run

FOLDER = Path("leaky-demo")
PIXELS, CLASSES, FULL = 64, 10, 16
"""Of a digit: pixels; of the data: classes; the largest value of a pixel, which training divides by."""

TRAINED_ON, CHOSEN_BY = 1437, 1617
"""Of the 1,797 digits: up to where they are trained on, and up to where the repair is chosen by; the rest test."""

SEEDS, EPOCHS, AFTERWARDS, TRIED_FOR = 5, 8, 5, 25
"""Networks of the first act; epochs before the bad batch and after it; steps that `leaky.repair` may try a way for."""

RATE, DEEP_RATE, WASTEFUL_RATE = 0.05, 0.015, 0.015
"""Of SGD with momentum for the first network and the deep one, of Adam for the last."""

DEEP, COMPARED_FOR, SLOPES = 16, 10, (0.0, 0.01, 0.1, 0.3)
"""Layers of the deep network, epochs of each of its trainings, and the slopes that `leaky.tune` compares."""


def network(negative_slope: float = 0.0, seed: int = 0, depth: int = 4, width: int = 64) -> nn.Sequential:
    """A plain network, untrained, with He's initialisation: the same weights each time."""
    torch.manual_seed(seed)
    model = nn.Sequential()
    for layer in range(1, depth + 1):
        linear = nn.Linear(PIXELS if layer == 1 else width, width)
        nn.init.kaiming_normal_(linear.weight, a=negative_slope, nonlinearity="leaky_relu")
        nn.init.zeros_(linear.bias)
        model.add_module(f"linear{layer}", linear)
        model.add_module(f"activation{layer}", nn.LeakyReLU(negative_slope) if negative_slope else nn.ReLU())
    model.add_module("logits", nn.Linear(width, CLASSES))
    return model


def digits() -> tuple[Tensor, Tensor]:
    """The 1,797 digits of 8 × 8 pixels between 0 and 1, in an order that is fixed, and which digit each is."""
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    return torch.tensor(pixels[order] / FULL, dtype=torch.float32), torch.tensor(labels[order])


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of digits that are told right."""
    with torch.no_grad():
        return (model(x).argmax(1) == y).double().mean().item()


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """One step of training."""
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()


def batches(epochs: int, seed: int) -> Iterable[Tensor]:
    """Places of the training digits, 32 at a time."""
    shuffle = torch.Generator().manual_seed(seed)
    return (batch for _ in range(epochs) for batch in torch.randperm(TRAINED_ON, generator=shuffle).split(32))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, epochs: int, seed: int) -> None:
    """Train in place."""
    for batch in batches(epochs, seed):
        step(model, optimizer, x[batch], y[batch])


def sgd(model: nn.Module, rate: float = RATE) -> torch.optim.Optimizer:
    """The optimizer of the first two acts."""
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)


def hit(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """One step on 32 digits whose pixels were not divided by 16."""
    step(model, optimizer, FULL * x[:32], y[:32].roll(1))


def learned_and_hit(x: Tensor, y: Tensor, seed: int = 0) -> tuple[nn.Sequential, float]:
    """A network that has learned, was hit, and learned on for an epoch; and its accuracy before it was hit."""
    model = network(seed=seed)
    optimizer = sgd(model)
    train(model, optimizer, x, y, EPOCHS, seed)
    before = accuracy(model, x[CHOSEN_BY:], y[CHOSEN_BY:])
    hit(model, optimizer, x, y)
    train(model, optimizer, x, y, 1, seed + 50)
    return model, before


def watched(x: Tensor, y: Tensor) -> None:
    """The same training once more, watched: what is said, and when."""
    model = network()
    optimizer = sgd(model)
    with leaky.watch(model, optimizer, on_alarm=lambda alarm: None) as watch:
        train(model, optimizer, x, y, EPOCHS, 0)
        bad = watch.step_number
        hit(model, optimizer, x, y)
        train(model, optimizer, x, y, 1, 50)
    alarms = [alarm for alarm in watch.alarms if alarm.finding.level != "info"]
    early = sum(alarm.step < bad for alarm in alarms)
    print(
        f"   leaky.watch, two lines around that loop: {early} alarms in the {bad} steps before the bad batch; after it"
    )
    for alarm in alarms[:2]:
        print(f"   step {alarm.step}, {alarm.step - bad} later: {alarm.finding.site}: {alarm.finding.message}")
    watch.save(FOLDER / "run.json")


def repair(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> object:
    """Plan, try each treatment for some steps, keep what trains best by the digits that are for choosing."""
    plan = leaky.repair(model, x[:TRAINED_ON])
    tried = list(itertools.islice(batches(1, seed=2), TRIED_FOR))

    def train_for_a_while(subject: nn.Module) -> None:
        for batch in tried:
            step(subject, optimizer, x[batch], y[batch])

    return plan.apply(
        validate=lambda subject: accuracy(subject, x[TRAINED_ON:CHOSEN_BY], y[TRAINED_ON:CHOSEN_BY]),
        train=train_for_a_while,
        optimizer=optimizer,
    )


def silent_units(model: nn.Sequential, x: Tensor) -> dict[int, Tensor]:
    """For each activation, by its place: which units never fire. A look apart from leaky's."""
    found = {}
    with torch.no_grad():
        for place, layer in enumerate(model):
            if not isinstance(layer, nn.Linear):
                found[place] = (x <= 0).all(0)
            x = layer(x)
    return found


def silent(model: nn.Sequential, x: Tensor) -> int:
    """How many units never fire."""
    return sum(int(units.sum()) for units in silent_units(model, x).values())


def cut_out(model: nn.Sequential, units: dict[int, Tensor], x: Tensor) -> float:
    """Cut units out of the layers behind them: by how much the outputs move at most."""
    with torch.no_grad():
        before = model(x)
        for place, never in units.items():
            behind = model[place + 1]
            assert isinstance(behind, nn.Linear)
            behind.weight[:, never] = 0
        return (model(x) - before).abs().max().item()


def show_command(*arguments: str) -> None:
    """Print a command as a user would type it, and run it."""
    print(f"\n$ leaky {shlex.join(arguments)}\n", flush=True)
    status = run(arguments)
    print(f"(exit status {status}: 1 means that there are errors, which can stop a CI job)\n", flush=True)


def check(name: str, model: nn.Module) -> None:
    """What `leaky check` says of a trained network."""
    weights = FOLDER / f"{name}.pt"
    torch.save(model.state_dict(), weights)
    builder = "wasteful" if name == "wasteful" else "network"
    show_command(
        *("check", f"examples/digits_demo.py:{builder}", "--data", str(FOLDER / "digits.npy")),
        *("--weights", str(weights), "--json", str(FOLDER / f"{name}.json"), "--html", str(FOLDER / f"{name}.html")),
    )


def spread(values: list[float]) -> str:
    """Mean and standard deviation as percentages."""
    return f"{100 * statistics.mean(values):.1f} ± {100 * statistics.stdev(values):.1f}%"


def one_bad_batch(x: Tensor, y: Tensor) -> None:
    """The first act."""
    print(
        f"1. One bad batch. A network of 4 × 64 ReLU units learns {TRAINED_ON:,} handwritten digits; then it is given"
    )
    print("   one batch whose pixels nobody divided by 16, and training goes on for an epoch.\n")
    watched(x, y)
    test = (x[CHOSEN_BY:], y[CHOSEN_BY:])
    scores: dict[str, list[float]] = {name: [] for name in ("before", "after", "left alone", "repaired")}
    for seed in range(SEEDS):
        model, before = learned_and_hit(x, y, seed)
        scores["before"].append(before)
        scores["after"].append(accuracy(model, *test))
        left_alone = copy.deepcopy(model)
        train(left_alone, sgd(left_alone), x, y, AFTERWARDS, seed + 100)
        scores["left alone"].append(accuracy(left_alone, *test))
        if seed == 0:
            check("hit", model)
            prove(model, x)
        optimizer = sgd(model)
        record = repair(model, optimizer, x, y)
        if seed == 0:
            print(f"leaky.repair tries its treatments, each for {TRIED_FOR} steps of training:\n\n{record}\n")
        train(model, optimizer, x, y, AFTERWARDS, seed + 100)
        scores["repaired"].append(accuracy(model, *test))
    print(f"The same for {SEEDS} networks, digits for testing that are told right:")
    for words, name in (
        ("before the bad batch", "before"),
        ("an epoch after it", "after"),
        (f"left alone, {AFTERWARDS} more epochs", "left alone"),
        (f"repaired, {AFTERWARDS} more epochs", "repaired"),
    ):
        print(f"  {words:<28}{spread(scores[name])}")


def prove(model: nn.Sequential, x: Tensor) -> None:
    """That the silent units do nothing, without leaky."""
    units = silent_units(model, x)
    moved = cut_out(copy.deepcopy(model), units, x)
    print(f"Is it true? Cut the {silent(model, x)} silent units out, and the network's outputs for all digits move")
    print(f"by at most {moved:.1g}. They do nothing, and no gradient will bring them back.\n")


def which_leak(x: Tensor, y: Tensor) -> None:
    """The second act."""
    print(f"\n2. Which leak, then? {DEEP} layers of 32 units; leaky.tune trains each slope from the same seeds:\n")
    study = leaky.tune(
        partial(network, depth=DEEP, width=32),
        train=(x[:TRAINED_ON], y[:TRAINED_ON]),
        test=(x[CHOSEN_BY:], y[CHOSEN_BY:]),
        slopes=SLOPES,
        epochs=COMPARED_FOR,
        batch_size=32,
        optimizer=partial(torch.optim.SGD, lr=DEEP_RATE, momentum=0.9),
    )
    print(study)


def wasteful() -> nn.Sequential:
    """The network of the last act, untrained."""
    return network(seed=0, depth=5)


def waste_without_harm(x: Tensor, y: Tensor) -> None:
    """The third act."""
    model = wasteful()
    train(model, torch.optim.Adam(model.parameters(), lr=WASTEFUL_RATE), x, y, 2 * EPOCHS, seed=1)
    right, count = accuracy(model, x[CHOSEN_BY:], y[CHOSEN_BY:]), silent(model, x)
    print(
        f"\n3. Waste without harm. Another network has {count} silent units of 320 and tells {right:.1%} of the digits"
    )
    print("   right. Dead units alone are no reason to worry, and leaky does not:")
    check("wasteful", model)


def main() -> None:
    """Tell the story."""
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    x, y = digits()
    np.save(FOLDER / "digits.npy", x.numpy())
    one_bad_batch(x, y)
    which_leak(x, y)
    waste_without_harm(x, y)
    print(f"See it: open {FOLDER}/hit.html in a browser. {FOLDER}/hit.json holds every number.")
    print("README.md shows how to check, and to watch, your own network.")


if __name__ == "__main__":
    main()
