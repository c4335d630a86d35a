"""leaky's demo: a network that looks fine, of which a good part has stopped learning.

A deep ReLU network learns scikit-learn's digits twice, the second time with a learning rate that is too large, and its
accuracy does not tell. `leaky check` does, an independent look proves it, and `leaky.repair` brings the units back, by
an experiment. A third run shows what a leak would have done from the start, and `leaky.tune` which. `make demo`, or
`python examples/digits_demo.py` where leaky[tune] and scikit-learn are installed. Everything is seeded.
"""

from __future__ import annotations

import copy
import shlex
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import leaky
from leaky.commands import run
from leaky.repairing.outcome import RepairRecord
from leaky.tuning import Study

FOLDER = Path("leaky-demo")
DEPTH, WIDTH, EPOCHS = 5, 64, 20
GOOD_RATE, BAD_RATE, SLOPE = 0.001, 0.015, 0.1
REPAIRED_FOR, TRIED_FOR = 5, 25
"""Epochs of training after the repair, and steps that `leaky.repair` may try each way for."""

SLOPES, SEEDS, COMPARED_FOR = (0.0, 0.01, 0.1, 0.3), 4, 4
"""The slopes that `leaky.tune` compares, seeds of each, and epochs of each training."""

TRAINED_ON, CHOSEN_BY = 1437, 1617
"""Of the 1,797 digits: up to where they are trained on, and up to where the repair is chosen by; the rest test."""


def network(negative_slope: float = 0.0) -> nn.Sequential:
    """The network, untrained: the same weights each time."""
    torch.manual_seed(0)
    model = nn.Sequential()
    for layer in range(1, DEPTH + 1):
        model.add_module(f"linear{layer}", nn.Linear(WIDTH, WIDTH))
        model.add_module(f"activation{layer}", nn.LeakyReLU(negative_slope) if negative_slope else nn.ReLU())
    model.add_module("logits", nn.Linear(WIDTH, 10))
    return model


def digits() -> tuple[Tensor, Tensor]:
    """The 1,797 digits of 8 × 8 pixels, in an order that is fixed, and which digit each is."""
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    return torch.tensor(pixels[order] / 16, dtype=torch.float32), torch.tensor(labels[order])


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterable[Tensor], x: Tensor, y: Tensor) -> None:
    """Train in place on these batches of indices."""
    for batch in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of digits that are told right."""
    with torch.no_grad():
        return (model(x).argmax(1) == y).double().mean().item()


def train(model: nn.Module, rate: float, x: Tensor, y: Tensor, epochs: int = EPOCHS) -> float:
    """Train in place with Adam; the accuracy on the digits for testing."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    shuffle = torch.Generator().manual_seed(1)
    for _ in range(epochs):
        steps(model, optimizer, torch.randperm(TRAINED_ON, generator=shuffle).split(32), x, y)
    return accuracy(model, x[CHOSEN_BY:], y[CHOSEN_BY:])


def repair(model: nn.Module, x: Tensor, y: Tensor) -> RepairRecord:
    """Plan, try each way for a while, keep the best by the digits that are for choosing."""
    seen = x[:TRAINED_ON]
    plan = leaky.repair(model, leaky.check(model, seen), seen)
    print(plan, end="\n\n")
    optimizer = torch.optim.Adam(model.parameters(), lr=GOOD_RATE)
    batches = torch.randperm(TRAINED_ON, generator=torch.Generator().manual_seed(2)).split(32)[:TRIED_FOR]
    return plan.apply(
        validate=lambda subject: accuracy(subject, x[TRAINED_ON:CHOSEN_BY], y[TRAINED_ON:CHOSEN_BY]),
        train=lambda subject: steps(subject, optimizer, batches, x, y),
        tolerance=0.01,
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


def cut_out(model: nn.Sequential, units: dict[int, Tensor], x: Tensor) -> float:
    """Cut units out of the layers behind them: by how much the outputs move at most."""
    with torch.no_grad():
        before = model(x)
        for place, silent in units.items():
            behind = model[place + 1]
            assert isinstance(behind, nn.Linear)
            behind.weight[:, silent] = 0
        return (model(x) - before).abs().max().item()


def compared_slopes(x: Tensor, y: Tensor) -> Study:
    """Which leak, for this network at the larger rate: the same seeds and batches for each slope."""
    return leaky.tune(
        network,
        train=(x[:TRAINED_ON], y[:TRAINED_ON]),
        test=(x[CHOSEN_BY:], y[CHOSEN_BY:]),
        slopes=SLOPES,
        seeds=SEEDS,
        epochs=COMPARED_FOR,
        optimizer=partial(torch.optim.Adam, lr=BAD_RATE),
    )


def show_command(*arguments: str) -> None:
    """Print a command as a user would type it, and run it."""
    print(f"\n$ leaky {shlex.join(arguments)}\n", flush=True)
    status = run(arguments)
    print(f"(exit status {status}: 1 means that there are errors, which can stop a CI job)\n", flush=True)


def main() -> None:
    """Tell the story."""
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    x, y = digits()
    np.save(FOLDER / "digits.npy", x.numpy())
    torch.save(network().state_dict(), FOLDER / "initial.pt")
    good, bad, leaky_net = network(), network(), network(SLOPE)

    print(f"A network of {DEPTH} × {WIDTH} ReLU units learns {len(x):,} handwritten digits, twice from the same start.")
    good_accuracy, bad_accuracy = train(good, GOOD_RATE, x, y), train(bad, BAD_RATE, x, y)
    print(f"  learning rate {GOOD_RATE}: {good_accuracy:.1%} of the test digits are right")
    print(f"  learning rate {BAD_RATE}: {bad_accuracy:.1%} - nothing to worry about?")
    torch.save(bad.state_dict(), FOLDER / "trained.pt")

    show_command(
        *("check", "examples/digits_demo.py:network", "--data", str(FOLDER / "digits.npy")),
        *("--weights", str(FOLDER / "trained.pt"), "--initial", str(FOLDER / "initial.pt")),
        *("--json", str(FOLDER / "checkup.json")),
    )

    silent = silent_units(bad, x)
    count = sum(int(units.sum()) for units in silent.values())
    print(f"Is it true? Cut the {count} silent units out of the network, and its outputs for all digits move by")
    print(
        f"at most {cut_out(copy.deepcopy(bad), silent, x):.1g}. They do nothing, and no gradient will bring them back."
    )
    print("\nWhat next? leaky.repair plans to bring them back:\n")
    repaired = copy.deepcopy(bad)
    print(repair(repaired, x, y), end="\n\n")
    repaired_accuracy = train(repaired, GOOD_RATE, x, y, REPAIRED_FOR)
    leaky_accuracy = train(leaky_net, BAD_RATE, x, y)
    print("                                          right   silent units")
    for name, model, score in (
        (f"ReLU, learning rate {GOOD_RATE}", good, good_accuracy),
        (f"ReLU, learning rate {BAD_RATE}", bad, bad_accuracy),
        (f"the same repaired, {REPAIRED_FOR} epochs at {GOOD_RATE}", repaired, repaired_accuracy),
        (f"LeakyReLU({SLOPE}), learning rate {BAD_RATE}", leaky_net, leaky_accuracy),
    ):
        count = sum(int(units.sum()) for units in silent_units(model, x).values())
        print(f"  {name:<40}{score:.1%}   {count} of {DEPTH * WIDTH}")
    print("\nA silent unit of a ReLU gets no gradient. One of a Leaky ReLU still learns. These digits are told as well")
    print("without: dead units are room that you paid for, and on a harder task you would miss it.")
    print(f"\nWhich leak, then? leaky.tune compares slopes at the rate of {BAD_RATE}, by seeds:\n")
    print(compared_slopes(x, y), end="\n\n")
    print(f"{FOLDER}/checkup.json holds every number. README.md shows how to check your own network.")


if __name__ == "__main__":
    main()
