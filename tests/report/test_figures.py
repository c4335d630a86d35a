"""Figures for papers: what is drawn is what the results say, and pyplot knows nothing of it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.page.networks import small
from tests.page.test_other_pages import run

import leaky
from leaky.checkup import Checkup
from leaky.diagnosis import diagnose
from leaky.diagnosis.rules.advice import second_moment
from leaky.errors import InputError
from leaky.report.figures import run_figure
from leaky.report.rows import site_rows

STUDY = Path(__file__).parents[2] / "benchmarks" / "results" / "tune_deep_digits_study.json"


def test_a_checkup_is_drawn_layer_by_layer(tmp_path: Path) -> None:
    checkup = Checkup(small())
    figure = checkup.plot()
    rates, shares, ranges = figure.axes
    picture = np.asarray(rates.get_images()[0].get_array())
    for row, site in zip(picture, checkup.record.sites, strict=True):
        assert row.mean() == pytest.approx(np.sort(site.firing_rate).mean(), abs=0.02)
        assert (np.diff(row) >= 0).all()
    dead = {round(bar.get_y() + bar.get_height() / 2): bar.get_width() for bar in shares.containers[0]}
    assert dead == pytest.approx(
        {at: 100 * row.dead / row.site.units for at, row in enumerate(site_rows(checkup.diagnosis))}
    )
    assert list(ranges.lines[0].get_xdata()) == pytest.approx([second_moment(site) for site in checkup.record.sites])
    figure.savefig(tmp_path / "checkup.png")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_a_study_is_drawn_with_the_intervals_of_the_library(tmp_path: Path) -> None:
    study = leaky.load(STUDY)
    figure = study.plot()
    scores, differences = figure.axes
    assert len(scores.lines) == 2 * len(study.arms)
    drawn = [tuple(line.get_xdata()) for line in differences.lines if len(line.get_xdata()) == 2]
    for arm in study.ranking:
        if arm != study.reference:
            gap = study.difference(arm, study.reference)
            assert (gap.low, gap.high) in drawn
    figure.savefig(tmp_path / "study.svg")


def test_a_run_is_drawn_over_its_steps(tmp_path: Path) -> None:
    watched = run()
    figure = run_figure(watched)
    network, layers, _ = figure.axes
    assert np.asarray(layers.get_images()[0].get_array()).shape == (6, 900)
    assert len(network.lines) == 4 + 2
    figure.savefig(tmp_path / "run.png")


def test_nothing_to_draw_is_told() -> None:
    empty = replace(small().record, sites=())
    with pytest.raises(InputError, match="no site was examined"):
        Checkup(diagnose(empty)).plot()
