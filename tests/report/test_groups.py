"""A long report is short, its names are broken at their joints, and nothing of it is lost."""

from __future__ import annotations

import pytest
from tests.records import normal, planted, record_from, site_from

from leaky.diagnosis import diagnose
from leaky.report.drawing import as_text
from leaky.report.groups import folded
from leaky.report.terminal import TerminalReport


@pytest.mark.parametrize("width", [12, 17, 30])
@pytest.mark.parametrize(
    "name", ["features.denseblock1.denselayer2.relu1", "encoder_layer_3.activation_function ReLU", "relu#2 (net.py:31)"]
)
def test_names_are_broken_at_their_joints_and_whole(name: str, width: int) -> None:
    lines = folded(name, width)
    assert all(len(line) <= width for line in lines)
    whole = "".join(lines).replace(" ", "")
    if "…" not in whole:
        assert whole == name.replace(" ", "")
        for line in lines[:-1]:
            assert line[-1] in "._(:#/" or name[name.index(line) + len(line)] == " "


def test_a_word_that_is_too_long_loses_its_middle() -> None:
    assert folded("a" * 20 + "z" * 20, 11) == ["aaaaa…zzzzz"]


def test_a_report_of_121_sites_is_short_and_shows_the_sick_ones() -> None:
    sites = [
        site_from(normal(1500, 8, seed=i), 0.0, name=f"stage{i % 4}.block{i}.activation_function", bypassed=False)
        for i in range(121)
    ]
    dead = planted(normal(1500, 8, seed=7), range(8), -1.0 - abs(normal(1500, 8)))
    sites[50] = site_from(dead, 0.0, name="stage2.block50.activation_function", bypassed=False)
    diagnosis = diagnose(record_from(*sites))
    short = as_text(TerminalReport(diagnosis))
    assert len(short.splitlines()) <= 60
    assert "stage0: 31 sites ReLU" in short.replace("\n", " ")
    assert "121 sites in 5 lines; --sites all shows a row for each" in short
    whole = as_text(TerminalReport(diagnosis, sites="all"), width=120)
    assert all(f"{site.name} ReLU" in whole for site in sites)


def test_where_the_units_are_healthy_the_last_words_send_one_elsewhere() -> None:
    diagnosis = diagnose(record_from(site_from(normal(1500, 8), 0.0)))
    assert "Nothing is wrong with the units." in diagnosis.conclusion
    assert "the targets, the loss, the learning rate and the data" in diagnosis.conclusion
    sick = diagnose(record_from(site_from(-1 - abs(normal(1500, 8)), 0.0)))
    assert sick.conclusion == ""
