"""The results on a terminal."""

from __future__ import annotations

from statistics import fmean

from rich.console import Console
from rich.table import Table

from benchmarks.faults.bursty import Bursty
from benchmarks.faults.rivals import RIVALS
from benchmarks.faults.scores import Score
from benchmarks.faults.summary import machine
from benchmarks.faults.trial import BATCH, DELTA, EARLY, LEAKING, RATE, Outcome

PLANTED = {
    "below": "dead",
    "beyond the cap": "dead",
    "beyond the floor": "dead",
    f"below{LEAKING}": "locked",
    "above": "locked",
    "constant": "locked",
    "nearly dead": "alive",
    "nearly always beyond the cap": "alive",
    "bursty": "alive",
    "pixel-sparse": "alive",
    "dormant": "alive",
    "cut off": "alive",
    "healthy": "alive",
}
"""What a planted unit is, in the order of the table."""


def show(console: Console, whole: Outcome, bursty: Bursty | None) -> None:
    """Every table."""
    console.print(f"{whole.name}, {whole.units:,} units; {', '.join(f'{k} {v}' for k, v in machine().items())}")
    console.print(_ours(whole))
    console.print(_early(whole))
    console.print(_others(whole))
    for rival in RIVALS:
        console.print(f"  {rival.name}: {rival.rule}")
    console.print(_blamed(whole))
    if bursty is not None:
        console.print(_bursty(bursty))
    for wrong in whole.wrong[:20]:
        console.print(f"wrong: {wrong}", markup=False)


def _ours(whole: Outcome) -> Table:
    table = Table("verdict", title="leaky, against finite differences")
    for column in ("units so", "called so", "precision", "recall"):
        table.add_column(column, justify="right")
    for verdict, score in sorted(whole.ours.items()):
        if not verdict.endswith(EARLY) and verdict != "unproven":
            so, called = score.hits + score.misses, score.hits + score.false_alarms
            table.add_row(verdict.replace("_", " "), str(so), str(called), *_pair(score))
    return table


def _early(whole: Outcome) -> str:
    score = whole.ours["unproven"]
    wrong = sum(early.false_alarms for verdict, early in whole.ours.items() if verdict.endswith(EARLY))
    return (
        f"On half of the samples needed, {wrong} units were called dead or locked; of {score.hits + score.misses} that "
        f"looked dead or locked negative, {score.hits} were called unproven, and {score.false_alarms} others."
    )


def _others(whole: Outcome) -> Table:
    table = Table("called dead", title="what others call dead")
    for column in ("precision", "recall", "precision*", "recall*", "reported", "true"):
        table.add_column(column, justify="right")
    table.add_row("leaky", *_pair(whole.ours["dead"]), *_pair(_never(whole)), "", "")
    for rival in RIVALS:
        shares = whole.shares.get(rival.name, [])
        means = [f"{fmean(column):.1%}" for column in zip(*shares, strict=True)] or ["", ""]
        scores = (whole.rivals[rival.name, truth] for truth in ("dead", "never fires"))
        table.add_row(rival.name, *(cell for score in scores for cell in _pair(score)), *means)
    table.caption = "* where locked negative counts as dead too; reported, true: mean dead share of a layer"
    return table


def _never(whole: Outcome) -> Score:
    score = Score()
    for verdict in ("dead", "locked_negative"):
        score += whole.ours[verdict]
    return score


def _blamed(whole: Outcome) -> Table:
    rules = ("leaky", *(rival.name for rival in RIVALS))
    table = Table("planted", "is", title="share of the planted units that each rule calls dead")
    table.add_column("units", justify="right")
    for rule in rules:
        table.add_column(rule, justify="right")
    for plant, truth in PLANTED.items():
        called = [whole.blamed[rule, plant] for rule in rules]
        if called[0]:
            table.add_row(plant, truth, str(len(called[0])), *(f"{fmean(shares):.0%}" for shares in called))
    return table


def _bursty(bursty: Bursty) -> str:
    low, high = bursty.samples
    return (
        f"{bursty.units} bursty units (fire on {RATE:.0%} of samples), {bursty.seeds} seeds, {low} to {high} samples: "
        f"fired on {bursty.fewest} to {bursty.most} of them; leaky called {bursty.called_dead} dead or locked (the "
        f"bound allows {bursty.expected:.2g} on average), zeros on one batch of {BATCH} would call "
        f"{bursty.silent_on_a_batch}.\n"
        f"Worst case, {bursty.worst_case_units} units that are all bursty: a wrong call in {bursty.worst_case_runs} of "
        f"{bursty.seeds} runs, {bursty.worst_case_runs / bursty.seeds:.1%} (promised: at most {DELTA:.0%})."
    )


def _pair(score: Score) -> tuple[str, str]:
    precision, recall = ("–" if value is None else f"{value:.3f}" for value in (score.precision, score.recall))
    return precision, recall
