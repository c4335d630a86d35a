"""`leaky check`: observe, diagnose, print."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import click

from leaky.commands.ending import TRACEBACK_HINT, Status
from leaky.commands.options import AXIS, SEED, SIZE, axis, html_options, json_option, thresholds
from leaky.commands.output import ResultFiles, own_stdout
from leaky.commands.saved import is_saved, show_saved
from leaky.errors import InputError, LeakyError
from leaky.signals import Terminated

if TYPE_CHECKING:
    from leaky.checkup import Checkup
    from leaky.commands.loading import LoadedData, Model
    from leaky.diagnosis import Level

HELP = """Find the units of MODEL that have stopped learning.

\b
MODEL is one of
  package.module:name    a torch.nn.Module, or a function that returns one
  path/to/file.py:name   the same, in a file
  model.onnx
  checkup.json, run.json, run.jsonl
                         a saved result, which is shown as it stands, without --data

\b
DATA is one of
  data.npy               samples along the first axis
  data.npz               arrays named like the inputs of the model, or x
  package.module:name    an iterable of batches (tensors, tuples whose first item is the
  path/to/file.py:name   input, dicts of keyword inputs), or a function that returns one
  noise:256x3x32x32      standard normal noise of this shape, or random tokens where the
                         model begins with an embedding; every verdict then says so

\b
Exit status
  0  no finding at or above --fail-on
  1  there is one
  2  wrong usage or input
  3  nothing could be examined
"""


@click.command("check", help=HELP)
@click.argument("model")
@click.option("--data", metavar="DATA", help="What to run the model on, see above.")
@json_option
@html_options()
@click.option(
    "--fail-on",
    type=click.Choice(["info", "warning", "error", "never"]),
    default="error",
    show_default=True,
    help="Exit with 1 if there is a finding of this level or worse.",
)
@click.option("--mode", type=click.Choice(["eval", "train"]), default="eval", show_default=True, help="Of the modules.")
@click.option("--device", metavar="NAME", help="Where to run; by default where the model is.")
@click.option("--max-samples", type=SIZE, metavar="N", help="Stop after so many samples.")
@click.option("--seed", type=SEED, metavar="N", help="Of all random numbers: initial weights, noise, ...")
@click.option("--weights", metavar="FILE", help="The state dict, .pt (read without unpickling) or .safetensors.")
@click.option(
    "--initial", metavar="FILE", help="The weights that training began with: tells born dead from died later."
)
@click.option("--unit-dim", type=AXIS, metavar="AXIS", help="Axis of the units at each site that has it.")
@click.option(
    "--sample-dim",
    "--batch-dim",
    metavar="AXIS",
    help="Axis of the samples in the inputs; none: a batch is one sample.",
)
@click.option(
    "--mask",
    metavar="NAME",
    help="Which positions are no padding: a tensor of the batch, as attention_mask is; none: all are. By default what "
    "the batch names so and what the model itself hides.",
)
@click.option(
    "--groups",
    metavar="NAME",
    help="Which rows are one sample together: a tensor of the batch with a number for each row; none: each is one. By "
    "default the graphs of a batch of several.",
)
@click.option("--batch-size", type=SIZE, metavar="N", help="Samples a batch of arrays and noise. [256]")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A threshold, see docs/rules; repeatable.")
@click.option(
    "--sites",
    type=click.Choice(["auto", "all"]),
    default="auto",
    show_default=True,
    help="Of many sites, those with something to tell and a line a block; or a row for each.",
)
@click.option("--population", is_flag=True, help="DATA is all the data there is: what holds on it needs no bound.")
@click.option("--verbose", "-v", is_flag=True, help="Show every finding in full.")
@click.option("--ignore", multiple=True, metavar="RULE", help="Leave a rule's findings out; repeatable.")
def command(
    model: str,
    data: str | None,
    json_path: str | None,
    html: str | None,
    html_dir: str | None,
    fail_on: str,
    weights: str | None,
    seed: int | None,
    sample_dim: str | None,
    mask: str | None,
    groups: str | None,
    batch_size: int | None,
    settings: tuple[str, ...],
    sites: str,
    verbose: bool,
    initial: str | None,
    ignore: tuple[str, ...],
    population: bool,
    **options: Any,
) -> Status:
    """Observe, diagnose, print; see HELP."""
    if data is None:
        if not is_saved(model):
            raise click.UsageError("Missing option '--data'.")
        return show_saved(model, fail_on, verbose, sites)
    files = ResultFiles(json_path, html, html_dir)
    files.check(model, data, weights, initial)
    from leaky.commands.loading import load_data, load_model
    from leaky.report.terminal import TerminalReport

    dim = axis(sample_dim)
    with own_stdout():
        subject = load_model(model, weights=weights, seed=seed)
        given = load_data(
            data, subject, seed=seed, sample_dim=dim if isinstance(dim, int) else None, batch_size=batch_size
        )
        options |= {"seed": seed, "sample_dim": dim, "batch_size": batch_size}
        named = (("mask", mask), ("groups", groups))
        options |= {name: {None: True, "none": False}.get(word, word) for name, word in named}
        judged = {"thresholds": thresholds(settings), "initial": initial, "ignore": ignore, "population": population}
        checkup = _checked(subject, given, options, judged)
    files.write("checkup", checkup, TerminalReport(checkup.diagnosis, full=verbose, sites=sites))
    if not checkup.record.sites:
        return Status.NOTHING_EXAMINED
    return Status.FOUND if fail_on != "never" and checkup.diagnosis.at_least(cast("Level", fail_on)) else Status.OK


def _checked(
    model: Model,
    data: LoadedData,
    options: dict[str, Any],
    judged: dict[str, Any],
) -> Checkup:
    from leaky.checkup import CheckArguments, Checkup, Labels, checked
    from leaky.failures import is_internal, one_line
    from leaky.report.progress import progress

    most = options["max_samples"]
    total = data.samples if most is None or data.samples is None else min(most, data.samples)
    try:
        with progress(total) as tick:
            given = CheckArguments(model.model, data.batches, progress=tick, **options, **judged)
            checkup = checked(given, Labels(model.name, data.name, data.on_noise))
    except (LeakyError, KeyboardInterrupt, Terminated):
        raise
    except SystemExit as stop:
        raise InputError(f"the model or its data ended the program while they ran (status {stop.code})") from stop
    except BaseException as error:
        if is_internal(error):
            raise
        # The model's own code raised; what it was fed is the first thing that its author wants to know.
        raise InputError(one_line(error, f"the data are {data.form}" if data.form else "") + TRACEBACK_HINT) from error
    record = replace(checkup.record, notes=checkup.record.notes + data.notes)
    return Checkup(replace(checkup.diagnosis, record=record), checkup.initial)
