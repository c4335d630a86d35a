"""`leaky tune`: it parses, calls, prints. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leaky.errors import InputError
from leaky.tuning.arms import DEFAULT_SLOPES, Arm, slope_from

if TYPE_CHECKING:
    from leaky.tuning.loop import Progress
    from leaky.tuning.study import Study

HELP = """Find the negative slope that suits TASK, by a paired experiment.

\b
TASK is package.module:name or path/to/file.py:name of
  a leaky.tuning.Task                   a torch model, its data and how it is trained
  objective(negative_slope, seed, report) -> score
                                        any other training code

Every slope trains from the same seeds; slopes that cannot win are dropped, and the answer may be that no slope differs
detectably. Every training is in --storage before the next begins: the same command resumes, and several, on one machine
or on many, share the work. Ctrl-C ends with the verdict so far.
"""


class TakesSlopes(click.Command):
    """Understands `--slopes 0 .01 prelu`; click itself knows only a fixed number of values behind an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        following = False
        for argument in args:
            if following and _is_slope(argument) and spread[-1] != "--slopes":
                spread.append("--slopes")
            following = argument == "--slopes" or (following and _is_slope(argument))
            spread.append(argument)
        return super().parse_args(ctx, spread)


def _is_slope(text: str) -> bool:
    try:
        slope_from(text)
    except InputError:
        return False
    return True


@click.command(cls=TakesSlopes, help=HELP)
@click.argument("task")
@click.option(
    "--slopes",
    multiple=True,
    metavar="A [B ...]",
    help="Numbers; prelu, tailored, elu, gelu, silu; numbers with / between them for the layers, 0.1/0.2. "
    f"[{' '.join(Arm(slope).label for slope in DEFAULT_SLOPES)}; beside --search: 0 0.01]",
)
@click.option("--search", type=(float, float), metavar="LOW HIGH", help="Look there first; compare the best it finds.")
@click.option("--per-layer", is_flag=True, help="Search one slope for each rectifier module.")
@click.option("--candidates", type=click.IntRange(min=1), metavar="N", help="Slopes that a search tries. [24]")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="A slope.")
@click.option(
    "--budget",
    type=click.Choice(["adaptive", "fixed"]),
    default="adaptive",
    show_default=True,
    help="fixed: exactly these seeds for every slope, and one look at the end.",
)
@click.option("--direction", type=click.Choice(["maximize", "minimize"]), help="Of the score. [the task's own]")
@click.option("--engine", type=click.Choice(["auto", "batched", "local", "ray"]), default="auto", show_default=True)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes, or Ray tasks.")
@click.option("--storage", metavar="PATH|URL", help="A journal file, or a storage URL of Optuna's. [memory]")
@click.option("--study-name", default="leaky", show_default=True, metavar="NAME", help="Of the study in the storage.")
@click.option("--time-limit", type=float, metavar="SECONDS", help="No training begins after that.")
@click.option("--confirm", type=click.IntRange(min=0), metavar="N", help="Fresh seeds for the chosen slope's score.")
@click.option("--json", "json_path", metavar="PATH", help="Write JSON there as well; - writes it alone to stdout.")
def tune(
    task: str,
    slopes: tuple[str, ...],
    search: tuple[float, float] | None,
    per_layer: bool,
    candidates: int | None,
    json_path: str | None,
    **options: Any,
) -> None:
    """Run or resume a study, print it; see HELP."""
    if search is None and (per_layer or candidates):
        raise InputError("--per-layer and --candidates belong to --search LOW HIGH")
    to_file = json_path not in (None, "-")
    if to_file and (not Path(json_path or "").parent.is_dir() or Path(json_path or "").is_dir()):
        raise InputError(f"--json must be - or a file in a folder that exists, not {json_path!r}")
    from leaky.tuning.api import tune as run
    from leaky.tuning.saving import study_to_json
    from leaky.tuning.search import Range

    given = tuple(slope_from(slope) for slope in slopes) or None
    space = None
    if search is not None:
        space = Range(*search, per_layer=per_layer, **({} if candidates is None else {"candidates": candidates}))
    alone = contextlib.redirect_stdout(sys.stderr) if json_path == "-" else contextlib.nullcontext()
    with alone, _progress() as tell:
        study = run(task, slopes=given, search=space, progress=tell, **options)
    if json_path == "-":
        click.echo(study_to_json(study), nl=False)
        return
    click.echo(str(study))
    if json_path is not None:
        study.save(json_path)
        click.echo(f"Wrote {json_path}", err=True)


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
            bar.update(row, completed=done, total=done + left, description=escape(_ranking(study)))

        yield tell


def _ranking(study: Study) -> str:
    """The slopes that are in the race with their means, the best first."""
    if not study.trials:
        return ""
    return " > ".join(f"{arm.label} {study.mean(arm):.4g}" for arm in study.best_set)
