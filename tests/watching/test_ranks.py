"""Ranks that watch together have the record of a training in one process."""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.watching.networks import mlp
from torch import Tensor, distributed, multiprocessing, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import leaky
from leaky.record import Record
from leaky.watching.alarm import TrainingStoppedError

BATCH = 24
CUTS = {2: ((0, 12, 24), (0, 9, 24)), 4: ((0, 6, 12, 18, 24), (0, 3, 10, 19, 24))}
"""Where the ranks' parts of a batch begin and end, even and uneven."""

pytestmark = pytest.mark.skipif(sys.platform == "win32" or not distributed.is_available(), reason="needs gloo")


def trained(rank: int, cuts: Any, log: Path, group: Any) -> Any:
    """Three steps; on the last, uneven one the weights stay, for ranks of unequal parts weigh samples otherwise."""
    torch.manual_seed(0)
    model: Any = mlp().double()
    data = torch.randn(3, BATCH, 8, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    watched = model if group is None else DistributedDataParallel(model)
    with leaky.watch(watched, optimizer, report_every=2, alarms=(), log=log, group=group) as watch:
        for step in range(3):
            places = cuts[step == 2]
            optimizer.param_groups[0]["lr"] = 0.0 if step == 2 else 0.05
            optimizer.zero_grad()
            watched(data[step, places[rank] : places[rank + 1]]).square().sum(1).mean().backward()
            optimizer.step()
    return watch


def watched_alone(model: nn.Module, group: Any, steps: int, data_of: Any, **options: Any) -> Any:
    """Steps of a model of this rank's own, whose weights stay as they are."""
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with leaky.watch(model, optimizer, group=group, **options) as watch:
        for step in range(steps):
            optimizer.zero_grad()
            model(data_of(step)).square().sum(1).mean().backward()
            optimizer.step()
    return watch


class Forks(nn.Module):
    """A branch that some batches never take."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act = nn.Linear(8, 6), nn.ReLU()
        self.other, self.other_act = nn.Linear(6, 5), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.first(x))
        return self.other_act(self.other(h)) if x[0, 0] > 0 else h[:, :5]


def stopped_by_one(rank: int, group: Any) -> Any:
    """The last rank alone gets a NaN, at step 4."""
    torch.manual_seed(0)
    model, last = mlp(), rank == distributed.get_world_size() - 1
    steps: list[int] = []

    def data_of(step: int) -> Tensor:
        steps.append(step)
        return torch.full((6, 8), torch.nan) if last and step == 4 else torch.ones(6, 8)

    try:
        watched_alone(model, group, 12, data_of, report_every=3, on_alarm="stop", alarms=("non-finite",))
    except TrainingStoppedError as error:
        found = error.alarm.finding
        return steps[-1], error.alarm.step, found.site, found.units, found.message
    return "not stopped"


def of_unequal_lengths(rank: int, group: Any) -> Any:
    """Rank r has 3 + 2 r steps, and the first an empty batch at its last step."""
    torch.manual_seed(0)
    data = torch.randn(16, 5, 8, generator=torch.Generator().manual_seed(rank))
    steps = 3 + 2 * rank
    watch = watched_alone(
        mlp(), group, steps, lambda s: data[s, : 0 if rank == 0 and s == 2 else 5], report_every=2, alarms=()
    )
    return watch.record(), data[:steps] if rank else data[:2], list(watch.notes), watch.history.samples.tolist()


def with_a_branch_of_one_rank(rank: int, group: Any) -> Any:
    """The last rank takes the branch from the first step on, the others from the fifth."""
    torch.manual_seed(0)
    model, last = Forks(), rank == distributed.get_world_size() - 1
    data = torch.randn(6, 4, 8, generator=torch.Generator().manual_seed(rank))
    data[:, 0, 0] = torch.tensor([1.0 if last or step > 3 else -1.0 for step in range(6)])
    watch = watched_alone(model, group, 6, lambda s: data[s], report_every=1, alarms=())
    return watch.record(), data, list(watch.notes), watch.history["other_act"]["rate"].tolist()


def with_shards(rank: int, group: Any) -> Any:
    """FSDP2, two steps; without a rank, the same in one process."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.PReLU(16), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 4)).double()
    data = torch.randn(3, BATCH, 8, dtype=torch.float64)
    ranks = 1 if group is None else distributed.get_world_size()
    if group is not None:
        for layer in (model[0], model[2], model):
            fully_shard(layer)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    with leaky.watch(model, optimizer, report_every=2, alarms=(), group=group) as watch:
        for batch in data:
            optimizer.zero_grad()
            model(batch.chunk(ranks)[rank]).square().sum(1).mean().backward()
            optimizer.step()
    history = {site: {name: figures[name] for name in ("update", "weight")} for site, figures in watch.history.items()}
    weights = [[producer.name for producer in site.producers] for site in watch.record().sites]
    untouched = {name: units.tolist() for name, units in watch.untouched_units().items()}
    return watch.record(), history, weights, untouched, list(watch.notes)


class Coder(nn.Module):
    """A gated block, and behind it a code whose latents fall silent for different times."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.act = nn.Linear(8, 12), nn.Linear(8, 12), nn.SiLU()
        self.encode, self.code, self.decode = nn.Linear(12, 30), nn.ReLU(), nn.Linear(30, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.code(self.encode(self.act(self.gate(x)) * self.up(x))))


def measured_beyond(rank: int, group: Any) -> Any:
    """Effective ranks, gates and latents over reports of three steps; the last batch is of unequal parts."""
    torch.manual_seed(0)
    model: Any = Coder().double()
    with torch.no_grad():
        model.encode.bias.copy_(torch.linspace(-3.0, 1.0, 30))
        model.gate.weight[:3], model.gate.bias[:3] = 0.0, -40.0
    data = torch.randn(7, BATCH, 8, dtype=torch.float64)
    ranks = 1 if group is None else distributed.get_world_size()
    cuts = ((0, BATCH), (0, BATCH)) if group is None else CUTS[ranks]
    options: Any = {"measures": ("srank", "gates"), "latents": ["code"], "thresholds": {"asleep_samples": 60}}
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with leaky.watch(model, optimizer, group=group, report_every=3, alarms=(), **options) as watch:
        for step, batch in enumerate(data):
            places = cuts[step == 6]
            optimizer.zero_grad()
            model(batch[places[rank] : places[rank + 1]]).square().sum(1).mean().backward()
            optimizer.step()
    code = watch.latents["code"]
    history = {site: {name: figures[name] for name in BEYOND} for site, figures in watch.history.items()}
    return history, code.density, code.silent_for, code.samples, list(watch.notes)


BEYOND = ("srank", "idle_gates", "asleep", "silent", "rate", "dead")


def never_zeroed(rank: int, group: Any) -> Any:
    """A loop whose gradients add up on every rank; under DDP, as ranks train."""
    torch.manual_seed(0)
    model: Any = mlp()
    watched = model if group is None else DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    told: list[Any] = []
    data = torch.randn(12, 6, 8)
    with leaky.watch(watched, optimizer, group=group, report_every=3, on_alarm=told.append) as watch:
        for batch in data:
            watched(batch).square().mean().backward()
            optimizer.step()
    return [(alarm.step, alarm.finding.rule) for alarm in watch.alarms if alarm.finding.rule == "never-zeroed"]


SCENES: Any = (
    measured_beyond,
    never_zeroed,
    with_shards,
    stopped_by_one,
    of_unequal_lengths,
    with_a_branch_of_one_rank,
)


def work(rank: int, ranks: int, folder: str, dies: bool) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    place = Path(folder)
    limit = timedelta(seconds=8 if dies else 100)
    distributed.init_process_group("gloo", f"file://{place / 'meet'}", limit, ranks, rank)
    group = distributed.group.WORLD
    if dies:
        model, seen = mlp(), []

        def data_of(step: int) -> Tensor:
            seen.append(step)
            if rank and step == 2:
                os._exit(0)
            return torch.randn(6, 8)

        watch = watched_alone(model, group, 5, data_of, report_every=1, alarms=())
        (place / "alone").write_text("\n".join([*watch.notes, str(watch.record().samples)]))
        return
    watch = trained(rank, CUTS[ranks], place / f"{rank}.jsonl", group)
    scenes = {scene.__name__: scene(rank, group) for scene in SCENES}
    found = watch.record(), dict(watch.history), tuple(watch.notes), scenes
    (place / f"{rank}.pickle").write_bytes(pickle.dumps(found))
    distributed.destroy_process_group()


def assert_same(got: Record, expected: Record, gradients: bool = True) -> None:
    assert got.samples == expected.samples
    assert [site.name for site in got.sites] == [site.name for site in expected.sites]
    for here, there in zip(got.sites, expected.sites, strict=True):
        mine, theirs = here.statistics, there.statistics
        for figure in ("samples", "fired", "counts", "nonfinite", "last_fired"):
            np.testing.assert_array_equal(getattr(mine, figure), getattr(theirs, figure), figure)
        for figure in ("sums", "squares", "minimum", "maximum", "output_absolute_sums", "output_squares"):
            if getattr(theirs, figure) is not None:
                np.testing.assert_allclose(getattr(mine, figure), getattr(theirs, figure), 1e-9, 1e-12, err_msg=figure)
        if not gradients:
            continue
        assert mine.gradient is not None
        assert theirs.gradient is not None
        np.testing.assert_allclose(mine.gradient.absolute_sums, theirs.gradient.absolute_sums, rtol=1e-9)
        np.testing.assert_allclose(mine.gradient.squares, theirs.gradient.squares, rtol=1e-9)


@pytest.fixture(scope="module", params=[2, 4])
def found(request: Any, tmp_path_factory: Any) -> Any:
    """What each rank has found."""
    place = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(work, (request.param, str(place), False), request.param)
    return place, [pickle.loads((place / f"{rank}.pickle").read_bytes()) for rank in range(request.param)]


def test_the_merged_record_is_that_of_one_process(found: Any, tmp_path: Path) -> None:
    place, ranks = found
    expected = trained(0, ((0, BATCH), (0, BATCH)), tmp_path / "one.jsonl", None)
    for record, history, notes, _ in ranks:
        assert not notes
        assert_same(record, expected.record())
        for site, figures in history.items():
            for figure, values in figures.items():
                np.testing.assert_array_equal(values, ranks[0][1][site][figure], f"{site} {figure}")
                if figure in ("update", "weight"):
                    np.testing.assert_allclose(values, expected.history[site][figure], rtol=1e-5)
    assert (place / "0.jsonl").exists()
    assert not (place / "1.jsonl").exists()


def test_trouble_of_one_rank_stops_all_at_the_same_step(found: Any) -> None:
    stops = {rank[3]["stopped_by_one"] for rank in found[1]}
    ((at, step, site, units, message),) = stops
    assert (at, step, site, units) == (5, 5, "1", tuple(range(16)))
    assert f"in batch {6 * len(found[1])} or one before it" in message


def of_all(model: nn.Module, parts: list[Tensor]) -> Record:
    """The record of one process whose steps see the batches of all ranks, one after another."""
    with leaky.watch(model, alarms=()) as watch:
        for step in range(max(map(len, parts))):
            for part in parts:
                if step < len(part):
                    model(part[step]).square().sum(1).mean().backward()
            watch.step()
    return watch.record()


def test_ranks_with_more_steps_are_waited_for_and_an_empty_batch_is_right(found: Any) -> None:
    scenes = [rank[3]["of_unequal_lengths"] for rank in found[1]]
    torch.manual_seed(0)
    expected = of_all(mlp(), [data for _, data, _, _ in scenes])
    for record, _, notes, samples in scenes:
        assert not notes
        assert sum(samples) == record.samples == expected.samples
        assert_same(record, expected, gradients=False)  # one of no samples would make the mean batch smaller


def test_a_site_that_one_rank_alone_has_met_waits_until_all_have(found: Any) -> None:
    scenes = [rank[3]["with_a_branch_of_one_rank"] for rank in found[1]]
    torch.manual_seed(0)
    expected = of_all(Forks(), [data for _, data, _, _ in scenes])
    for record, _, notes, rates in scenes:
        first, branch = record.sites
        assert not notes
        assert_same(replace(record, sites=(first,)), replace(expected, sites=expected.sites[:1]))
        assert branch.samples == 6 * 4 + (len(scenes) - 1) * 4  # the pass that shows a branch does not count
        assert branch.statistics.last_fired.max() == 5
        assert np.isnan(rates[:5]).all()
        assert np.isfinite(rates[5])
        assert rates[5] == scenes[0][3][5]


def test_shards_of_fsdp2_are_watched_as_the_whole_model_is(found: Any) -> None:
    expected, figures, weights, untouched, _ = with_shards(0, None)
    for rank in found[1]:
        record, history, named, idle, notes = rank[3]["with_shards"]
        assert not notes
        assert_same(record, expected)
        assert named == weights == [["0.weight"], ["2.weight"]]
        assert idle == untouched
        for site, each in figures.items():
            for name, values in each.items():
                np.testing.assert_allclose(history[site][name], values, rtol=1e-5, err_msg=f"{site} {name}")


def test_what_is_measured_beyond_the_sums_is_that_of_one_process(found: Any) -> None:
    expected, density, silent, samples, _ = measured_beyond(0, None)
    assert (expected["code (latents)"]["asleep"][-1], expected["act"]["idle_gates"][-1]) > (0.1, 0.2)
    for rank in found[1]:
        history, *figures, notes = rank[3]["measured_beyond"]
        assert not notes
        for got, wanted in zip(figures, (density, silent, samples), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-12)
        for site, each in expected.items():
            for name, values in each.items():
                np.testing.assert_allclose(history[site][name], values, rtol=1e-9, err_msg=f"{site} {name}")


def test_gradients_that_add_up_on_every_rank_are_told_on_all_at_the_same_step(found: Any) -> None:
    expected = never_zeroed(0, None)
    assert expected
    assert all(rank[3]["never_zeroed"] == expected for rank in found[1])


def test_a_rank_that_has_died_leaves_the_other_by_itself(tmp_path: Path) -> None:
    multiprocessing.spawn(work, (2, str(tmp_path), True), 2)
    note, samples = (tmp_path / "alone").read_text().splitlines()
    assert note.startswith("reports are of this rank alone from here on: a rank could not be reached")
    assert samples == str(2 * 12 + 3 * 6)


def test_a_group_that_does_not_exist_is_refused() -> None:
    with pytest.raises(leaky.LeakyError, match="group must be a process group"):
        leaky.watch(mlp(), group=object())
