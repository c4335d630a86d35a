"""`leaky tune`: it parses, calls, prints. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from leaky.commands.ending import Status
from leaky.commands.options import FINITE, NOT_NEGATIVE, POSITIVE, TakesSlopes, html_options, json_option
from leaky.commands.output import ResultFiles, own_stdout
from leaky.commands.supervision import possible, supervised
from leaky.errors import InputError
from leaky.tuning.arms import DEFAULT_SLOPES, Arm, slope_from

if TYPE_CHECKING:
    from leaky.tuning.running.worker import Progress
    from leaky.tuning.study import Study

HELP = """Find the negative slope that suits TASK, by a paired experiment.

\b
TASK is package.module:name or path/to/file.py:name of
  a leaky.tuning.Task                   a torch model, its data and how it is trained
  objective(negative_slope, seed, report) -> score
                                        any other training code

Every slope trains from the same seeds; slopes that cannot win are dropped. The answer is that one is better than the
simplest, that none is by more than --worth, or that it is undecided, with what would decide it. Every training is in
--storage before the next begins: the same command resumes, and several, on one machine or on many, share the work.
Ctrl-C ends with the answer so far.
"""

MOST = 100_000
COUNT = click.IntRange(1, MOST)
"""Of seeds and candidates."""


@click.command("tune", cls=TakesSlopes, help=HELP)
@click.argument("task")
@click.option(
    "--slopes",
    multiple=True,
    metavar="A [B ...]",
    help="Numbers; prelu, tailored, elu, gelu, silu; numbers with / between them for the layers, 0.1/0.2. "
    f"[{' '.join(Arm(slope).label for slope in DEFAULT_SLOPES)}; beside --search: 0 0.01]",
)
@click.option(
    "--search", type=(FINITE, FINITE), metavar="LOW HIGH", help="Look there first; compare the best it finds."
)
@click.option("--per-layer", is_flag=True, help="Search one slope for each rectifier module.")
@click.option("--candidates", type=COUNT, metavar="N", help="Slopes that a search tries. [24]")
@click.option("--seeds", type=COUNT, default=5, show_default=True, help="A slope.")
@click.option(
    "--budget",
    type=click.Choice(["adaptive", "fixed"]),
    default="adaptive",
    show_default=True,
    help="fixed: exactly these seeds for every slope, and one look at the end.",
)
@click.option(
    "--worth",
    type=NOT_NEGATIVE,
    metavar="X",
    help="The smallest difference of the score that matters. [.01 of an accuracy, else 2% of a typical score]",
)
@click.option(
    "--patience",
    type=NOT_NEGATIVE,
    metavar="SECONDS",
    help="Of training, for which an undecided study goes on beyond its seeds. [180]",
)
@click.option("--higher-is-better/--lower-is-better", default=None, help="Of the score. [the task's own]")
@click.option("--engine", type=click.Choice(["auto", "batched", "local", "ray"]), default="auto", show_default=True)
@click.option("--workers", type=click.IntRange(1, 1024), default=1, show_default=True, help="Processes, or Ray tasks.")
@click.option("--storage", metavar="PATH|URL", help="A journal file, or a storage URL of Optuna's. [memory]")
@click.option("--study-name", default="leaky", show_default=True, metavar="NAME", help="Of the study in the storage.")
@click.option("--time-limit", type=POSITIVE, metavar="SECONDS", help="The study ends then.")
@click.option("--isolate", is_flag=True, help="Each training in a process of its own: a crash is a failed training.")
@click.option("--training-seconds", type=POSITIVE, metavar="SECONDS", help="A training fails then; isolates.")
@click.option("--training-memory", type=POSITIVE, metavar="GIB", help="A training fails beyond that; isolates.")
@click.option("--confirm", type=click.IntRange(0, MOST), metavar="N", help="Fresh seeds for the chosen slope's score.")
@json_option
@html_options()
def command(
    task: str,
    slopes: tuple[str, ...],
    search: tuple[float, float] | None,
    per_layer: bool,
    candidates: int | None,
    json_path: str | None,
    html: str | None,
    html_dir: str | None,
    storage: str | None,
    time_limit: float | None,
    **options: Any,
) -> int:
    """Run or resume a study, print it; see HELP."""
    if search is None and (per_layer or candidates):
        raise InputError("--per-layer and --candidates belong to --search LOW HIGH")
    files = ResultFiles(json_path, html, html_dir)
    files.check(task, storage)

    def work(place: str | None, left: float | None) -> int:
        chosen = {"storage": place, "time_limit": left, **options}
        study = _study(task, slopes, search, per_layer, candidates, chosen)
        files.write("study", study, study)
        return Status.OK

    return supervised(work, storage, time_limit) if possible() else work(storage, time_limit)


def _study(
    task: str,
    slopes: tuple[str, ...],
    search: tuple[float, float] | None,
    per_layer: bool,
    candidates: int | None,
    options: dict[str, Any],
) -> Study:
    from leaky.tuning.api import tune
    from leaky.tuning.search import Range

    chosen = {name: value for name, value in options.items() if value is not None}
    given = tuple(slope_from(slope) for slope in slopes) or None
    space = None
    if search is not None:
        space = Range(*search, per_layer=per_layer, **({} if candidates is None else {"candidates": candidates}))
    with own_stdout(), _progress() as tell:
        return tune(task, slopes=given, search=space, progress=tell, **chosen)


@contextlib.contextmanager
def _progress() -> Iterator[Progress | None]:
    """A bar with the time left and the ranking so far on stderr; None where that is no terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (MofNCompleteColumn(), TextColumn("trainings"), BarColumn(20), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console, transient=True) as bar:
        row = bar.add_task("", total=None)

        def tell(study: Study, left: int) -> None:
            done = len(study.trials)
            bar.update(row, completed=done, total=done + left, description=escape(_standing(study)))

        yield tell


def _standing(study: Study) -> str:
    """The slopes in the race with their means, the best first, and what they say so far."""
    if not study.trials:
        return ""
    ranking = " > ".join(f"{arm.label} {study.mean(arm):.4g}" for arm in study.best_set)
    return f"to an answer; {study.answer.kind} so far: {ranking}"
