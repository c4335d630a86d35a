"""A fast part of the suite of trainings, and what its kept results may claim."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.trainings import latecomers, mechanisms, mechanisms_since
from benchmarks.trainings.building import CE, Adam, Kind, Training, blobs, plain
from benchmarks.trainings.halves import HALVES
from benchmarks.trainings.healthy import small_regression
from benchmarks.trainings.looked_at import collapsed_expert, label_spikes, one_batch_scaled, rate_spike, rate_too_high
from benchmarks.trainings.running import healthy_row, row, run, stalled_at

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.mark.parametrize("kind", [rate_too_high, rate_spike, label_spikes, one_batch_scaled, collapsed_expert])
def test_a_failing_training_is_told_in_time_and_its_twin_is_left_in_peace(kind: Kind) -> None:
    found = row(kind, 5)
    assert (found["in time"], found["twin"]) == (True, []), found


def steps_too_long(seed: int, sick: bool) -> Training:
    """Labels that nothing tells, under a rate that lets no weight settle."""
    model, batches = plain([32, 64, 10]), blobs(seed)
    draw = torch.Generator().manual_seed(seed)

    def sample(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = batches(step)
        return x, torch.randint(10, (len(y),), generator=draw) if sick else y

    optimizer = Adam(model.parameters(), 0.1 if sick else 2e-3, betas=(0.0, 0.9))
    return Training(model, optimizer, sample, CE)


NEWER: dict[str, Kind] = {
    "changed-aside": mechanisms.weights_scaled_down_aside,
    "weight-size": mechanisms.decay_of_the_wrong_sign,
    "steady-updates": steps_too_long,
    "tiny-updates": mechanisms.rate_far_too_small,
    "tiny-updates, rounded away": mechanisms.updates_lost_in_rounding,
    "to-and-fro": mechanisms_since.to_and_fro,
    "pressed": mechanisms.features_pressed_by_their_size,
    "pressed, by squares": mechanisms.code_pressed_to_nothing,
    "cut-off": latecomers.pictures_that_nobody_asks_for,
    "non-finite, the loss alone": mechanisms_since.rate_of_counts_without_logarithm,
    "alike, what the model gives": mechanisms_since.words_without_others,
    "same-units": mechanisms.everything_begins_the_same,
    "alike": mechanisms.padding_for_words,
}
"""A training for each alarm that goes by a quantity of any training."""
STEPS: dict[Kind, int] = {
    mechanisms_since.to_and_fro: 150, latecomers.pictures_that_nobody_asks_for: 200,
    mechanisms_since.words_without_others: 130,
}  # fmt: skip
"""To train, where an alarm takes longer."""


def loud(kind: Kind, sick: bool) -> set[str]:
    """The alarms above info of the first steps."""
    torch.manual_seed(5)
    training = kind(5, sick)
    training.steps = STEPS.get(kind, 75)
    return {alarm.finding.rule for alarm in run(training, 5).loud}


@pytest.mark.parametrize("name", NEWER)
def test_each_newer_alarm_is_raised_by_its_trouble_and_by_nothing_of_the_healthy_twin(name: str) -> None:
    assert name.split(",")[0] in loud(NEWER[name], True)
    assert loud(NEWER[name], False) == set()


def test_a_healthy_training_gets_notes_at_most() -> None:
    assert healthy_row(small_regression, 0)["said"] == []


def test_a_loss_has_stalled_where_its_reader_can_see_it() -> None:
    falling = np.linspace(2.0, 0.0, 300)
    assert stalled_at(falling) == 300
    assert stalled_at(np.concatenate([falling[:150], np.full(150, 1.0)])) in range(240, 280)
    assert stalled_at(np.array([1.0, 0.9, np.nan, 0.5])) == 2
    assert stalled_at(np.array([1.0, 0.9, 0.8, 500.0])) == 3


def cases(half: str, failing: bool) -> set[tuple[str, int]]:
    """Every training of a half: its kind and its seed."""
    groups = [((sick if failing else well), seeds) for sick, well, seeds in HALVES[half]]
    return {(kind.__name__, seed) for kinds, seeds in groups for kind in kinds for seed in seeds}


def test_the_halves_differ_in_kinds_and_seeds() -> None:
    every = [{*cases(half, True), *cases(half, False)} for half in HALVES]
    for one, other in itertools.combinations(every, 2):
        for part in (0, 1):
            assert not {case[part] for case in one} & {case[part] for case in other}
    assert len({kind for kind, _ in cases("held-out", True)}) >= 12
    assert len({kind for kind, _ in cases("held-out", False)}) >= 10


@pytest.mark.parametrize("half", list(HALVES))
def test_what_is_kept_was_run_on_every_kind_of_its_half(half: str) -> None:
    kept = json.loads((RESULTS / f"trainings-{half}.json").read_text(encoding="utf-8"))
    assert {(each["kind"], each["seed"]) for each in kept["failing"]} == cases(half, True)
    assert {(each["kind"], each["seed"]) for each in kept["healthy"]} == cases(half, False)
