"""The command line: it parses, calls, prints and exits. Nothing heavy is imported before it is needed.

A user's mistake ends in one line on stderr and status 2, never in a traceback; LEAKY_DEBUG=1 shows one.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import click

from leaky import __version__
from leaky.arguments import TakesSlopes, axis, thresholds
from leaky.cli_repair import COMMANDS as REPAIR_COMMANDS
from leaky.cli_tune import tune
from leaky.errors import InputError, LeakyError, NothingExaminedError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from leaky.checkup import Checkup
    from leaky.diagnosis import Level
    from leaky.loading import Data, Model
    from leaky.serialization import Json


CHECK_HELP = """Find the units of MODEL that have stopped learning.

\b
MODEL is one of
  package.module:name    a torch.nn.Module, or a function that returns one
  path/to/file.py:name   the same, in a file
  model.onnx

\b
DATA is one of
  data.npy               samples along the first axis
  data.npz               arrays named like the inputs of the model, or x
  package.module:name    an iterable of batches (tensors, tuples whose first item is the
  path/to/file.py:name   input, dicts of keyword inputs), or a function that returns one
  noise:256x3x32x32      standard normal noise of this shape; every verdict then says so

\b
Exit status
  0  no finding at or above --fail-on
  1  there is one
  2  wrong usage or input
  3  nothing could be examined
"""


TRACEBACK_HINT = " (LEAKY_DEBUG=1 shows the traceback)"


class Status(IntEnum):
    """Exit statuses; scripts rely on them."""

    OK = 0
    FOUND = 1
    WRONG_INPUT = 2
    NOTHING_EXAMINED = 3
    INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the program with its status."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its status."""
    try:
        # Not in click's standalone mode: that ends with 1 for some failures, and 1 means that something was found.
        return int(cli.main(arguments, prog_name="leaky", standalone_mode=False) or Status.OK)
    except click.ClickException as error:
        error.show()
        return Status.WRONG_INPUT
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return Status.INTERRUPTED
    except SystemExit as stop:
        # sys.exit(0) in code that builds a model must not read as "nothing was found".
        click.echo(f"Error: code of the model or the data ended the program (status {stop.code})", err=True)
        return Status.WRONG_INPUT
    except Exception as error:
        if _debugging():
            raise
        from leaky.failures import one_line

        hint = "" if isinstance(error, LeakyError) else TRACEBACK_HINT
        click.echo(f"Error: {one_line(error)}{hint}", err=True)
        return Status.NOTHING_EXAMINED if isinstance(error, NothingExaminedError) else Status.WRONG_INPUT


def _debugging() -> bool:
    return os.environ.get("LEAKY_DEBUG", "0") not in ("", "0")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="LEAKY_DEBUG=1 in the environment shows a traceback with an error.",
)
@click.version_option(__version__, prog_name="leaky")
def cli() -> None:
    """Find the units of a neural network that have stopped learning."""


@cli.command(help=CHECK_HELP)
@click.argument("model")
@click.option("--data", required=True, metavar="DATA", help="What to run the model on, see above.")
@click.option("--json", "json_path", metavar="PATH", help="Write JSON there as well; - writes it alone to stdout.")
@click.option(
    "--fail-on",
    type=click.Choice(["info", "warning", "error", "never"]),
    default="error",
    show_default=True,
    help="Exit with 1 if there is a finding of this level or worse.",
)
@click.option("--mode", type=click.Choice(["eval", "train"]), default="eval", show_default=True, help="Of the modules.")
@click.option("--device", metavar="NAME", help="Where to run; by default where the model is.")
@click.option("--max-samples", type=click.IntRange(min=1), metavar="N", help="Stop after so many samples.")
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", help="Of all random numbers: initial weights, noise, ..."
)
@click.option("--weights", metavar="FILE", help="The state dict, .pt (read without unpickling) or .safetensors.")
@click.option(
    "--initial", metavar="FILE", help="The weights that training began with: tells born dead from died later."
)
@click.option("--unit-dim", type=int, metavar="AXIS", help="Axis of the units at every site that has it.")
@click.option("--batch-dim", metavar="AXIS", help="Axis of the samples in the inputs; none: a batch is one sample.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), metavar="N", help="Samples a batch of arrays and noise. [256]"
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A threshold, see docs/rules; repeatable.")
@click.option("--verbose", "-v", is_flag=True, help="Show every finding in full.")
@click.option("--ignore", multiple=True, metavar="RULE", help="Leave a rule's findings out; repeatable.")
def check(
    model: str,
    data: str,
    json_path: str | None,
    fail_on: str,
    weights: str | None,
    seed: int | None,
    batch_dim: str | None,
    batch_size: int | None,
    settings: tuple[str, ...],
    verbose: bool,
    **options: Any,
) -> Status:
    """Observe, diagnose, print; see CHECK_HELP."""
    if json_path not in (None, "-"):
        _must_be_writable(Path(json_path or ""))
    from leaky.loading import load_data, load_model
    from leaky.report.terminal import TerminalReport

    dim = axis(batch_dim)
    with _own_stdout():
        subject = load_model(model, weights=weights, seed=seed)
        given = load_data(
            data, subject, seed=seed, batch_dim=dim if isinstance(dim, int) else None, batch_size=batch_size
        )
        options |= {"seed": seed, "batch_dim": dim, "batch_size": batch_size, **thresholds(settings)}
        checkup = _checked(subject, given, options)
    _write(TerminalReport(checkup.diagnosis, full=verbose), checkup.to_dict(), json_path)
    if not checkup.record.sites:
        return Status.NOTHING_EXAMINED
    return Status.FOUND if fail_on != "never" and checkup.diagnosis.at_least(cast("Level", fail_on)) else Status.OK


def _checked(model: Model, data: Data, options: dict[str, Any]) -> Checkup:
    from leaky.checkup import Checkup, check
    from leaky.failures import one_line
    from leaky.report.progress import progress

    most = options["max_samples"]
    total = data.samples if most is None or data.samples is None else min(most, data.samples)
    try:
        with progress(total) as tick:
            checkup = check(
                model.model,
                data.batches,
                model_name=model.name,
                data_name=data.name,
                on_noise=data.on_noise,
                progress=tick,
                **options,
            )
    except LeakyError:
        raise
    except SystemExit as stop:
        raise InputError(f"the model or its data ended the program while they ran (status {stop.code})") from stop
    except Exception as error:
        # The model's own code raised; what it was fed is the first thing that its author wants to know.
        raise InputError(one_line(error, f"the data are {data.form}" if data.form else "") + TRACEBACK_HINT) from error
    record = replace(checkup.record, notes=checkup.record.notes + data.notes)
    return Checkup(replace(checkup.diagnosis, record=record), checkup.initial)


@contextlib.contextmanager
def _own_stdout() -> Iterator[None]:
    """Keep stdout for the report: what the user's code prints, from C or another process too, goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _write(report: RenderableType, data: Json, json_path: str | None) -> None:
    from leaky.files import write_whole
    from leaky.report.terminal import show
    from leaky.serialization import dumps

    content = dumps(data).encode()  # UTF-8, whatever the locale
    if json_path not in (None, "-"):
        write_whole(json_path or "", content)
        click.echo(f"Wrote {json_path}", err=True)
    try:
        if json_path == "-":
            click.echo(content, nl=False)
        else:
            show(report)
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted, and the status is that of the check. Python must not complain when
        # it flushes stdout at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _must_be_writable(path: Path) -> None:
    """Told before the work, not after it."""
    if not path.parent.is_dir() or path.is_dir():
        raise InputError(f"--json must be - or a file in a folder that exists, not {str(path)!r}")


@cli.command()
@click.argument("old")
@click.argument("new")
@click.option("--json", "json_path", metavar="PATH", help="Write JSON there as well; - writes it alone to stdout.")
def compare(old: str, new: str, json_path: str | None) -> Status:
    """Say what appeared, what went and what grew from OLD to NEW, two JSON files of `leaky check`.

    Exits with 1 where something got worse, with 3 where no site is in both.
    """
    if json_path not in (None, "-"):
        _must_be_writable(Path(json_path or ""))
    from leaky.checkup import load
    from leaky.diagnosis import compare as compared
    from leaky.report.comparison import ComparisonReport

    found = compared(load(old), load(new))
    _write(ComparisonReport(found), found.as_dict(), json_path)
    if found.worse:
        return Status.FOUND
    return Status.OK if found.examined else Status.NOTHING_EXAMINED


@cli.command(cls=TakesSlopes)
@click.option(
    "--slopes", type=float, multiple=True, metavar="A [B ...]", default=(0.0, 0.01, 0.1, 0.3), help="[0 .01 .1 .3]"
)
@click.option("--gain", type=float, default=1.0, show_default=True, help="Factor on the output.")
@click.option("--clamp", type=float, help="Bound on |y|, after the gain.")
@click.option("--out", required=True, metavar="FILE", help="Picture to write: .svg, .png or .pdf.")
def plot(slopes: tuple[float, ...], gain: float, clamp: float | None, out: str) -> None:
    """Draw the Leaky ReLU and its derivative."""
    from leaky.activation.diagram import plot as draw

    draw(slopes, gain=gain, clamp=clamp, out=out)
    click.echo(f"Wrote {out}", err=True)


for _command in (*REPAIR_COMMANDS, tune):
    cli.add_command(_command)
