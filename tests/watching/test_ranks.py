"""Ranks that watch together have the record of a training in one process."""

from __future__ import annotations

import pickle
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.watching.networks import mlp
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

import leaky
from leaky.record import Record

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


def work(rank: int, ranks: int, folder: str, dies: bool) -> None:
    torch.set_num_threads(1)
    place = Path(folder)
    limit = timedelta(seconds=8 if dies else 100)
    distributed.init_process_group("gloo", f"file://{place / 'meet'}", limit, ranks, rank)
    if dies and rank:
        return
    group = distributed.group.WORLD
    if dies:
        model = mlp()
        with leaky.watch(model, report_every=1, alarms=(), group=group) as watch:
            for _ in range(2):
                model(torch.randn(6, 8)).sum().backward()
                watch.step()
        (place / "alone").write_text("\n".join([*watch.notes, str(watch.record().samples)]))
        return
    watch = trained(rank, CUTS[ranks], place / f"{rank}.jsonl", group)
    (place / f"{rank}.pickle").write_bytes(pickle.dumps((watch.record(), dict(watch.history), tuple(watch.notes))))
    distributed.destroy_process_group()


def assert_same(got: Record, expected: Record) -> None:
    assert got.samples == expected.samples == 3 * BATCH
    assert [site.name for site in got.sites] == [site.name for site in expected.sites]
    for here, there in zip(got.sites, expected.sites, strict=True):
        mine, theirs = here.statistics, there.statistics
        for figure in ("samples", "fired", "counts", "nonfinite", "last_fired"):
            np.testing.assert_array_equal(getattr(mine, figure), getattr(theirs, figure), figure)
        for figure in ("sums", "squares", "minimum", "maximum", "output_absolute_sums", "output_squares"):
            if getattr(theirs, figure) is not None:
                np.testing.assert_allclose(getattr(mine, figure), getattr(theirs, figure), rtol=1e-9, err_msg=figure)
        assert mine.gradient is not None
        assert theirs.gradient is not None
        np.testing.assert_allclose(mine.gradient.absolute_sums, theirs.gradient.absolute_sums, rtol=1e-9)
        np.testing.assert_allclose(mine.gradient.squares, theirs.gradient.squares, rtol=1e-9)


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_merged_record_is_that_of_one_process(ranks: int, tmp_path: Path) -> None:
    expected = trained(0, ((0, BATCH), (0, BATCH)), tmp_path / "one.jsonl", None).record()
    multiprocessing.spawn(work, (ranks, str(tmp_path), False), ranks)
    found = [pickle.loads((tmp_path / f"{rank}.pickle").read_bytes()) for rank in range(ranks)]
    for record, history, notes in found:
        assert not notes
        assert_same(record, expected)
        for site, figures in history.items():
            for figure, values in figures.items():
                np.testing.assert_array_equal(values, found[0][1][site][figure], f"{site} {figure}")
    assert (tmp_path / "0.jsonl").exists()
    assert not (tmp_path / "1.jsonl").exists()


def test_a_rank_that_has_died_leaves_the_other_by_itself(tmp_path: Path) -> None:
    multiprocessing.spawn(work, (2, str(tmp_path), True), 2)
    note, samples = (tmp_path / "alone").read_text().splitlines()
    assert note.startswith("reports are of this rank alone from here on: a rank could not be reached")
    assert samples == "12"


def test_a_group_that_does_not_exist_is_refused() -> None:
    with pytest.raises(leaky.LeakyError, match="group must be a process group"):
        leaky.watch(mlp(), group=object())
