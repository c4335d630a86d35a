"""`leaky repair`: plan, apply, write."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leaky.commands.options import FINITE, NOT_NEGATIVE, SEED, SIZE, html_options
from leaky.commands.output import check_apart, check_page_places, own_stdout, pages, show, written_first
from leaky.errors import InputError, MissingExtraError
from leaky.files import must_be_writable, write_whole
from leaky.user_code import resolve

if TYPE_CHECKING:
    from torch import nn

    from leaky.checkup import CheckArguments, Labels
    from leaky.commands.loading import LoadedData
    from leaky.repairing.recipe import Recipe

    Evidence = tuple[CheckArguments, Labels]

HELP = """Win back the dead units of MODEL without moving its function, or leave it alone.

MODEL and DATA are as for leaky check. The change is kept if the outputs move by at most --max-change of their size,
or, with --validate, if your metric gets no worse than by --tolerance; otherwise nothing is written. With --train as
well, the model as it was, repaired, and begun anew are each trained for a while, and the best is kept. A model of which
the weights do not hold everything is rebuilt with leaky.apply_recipe(model, RECIPE) before they are loaded.

With --prune the dead and constant units are taken out instead: OUT gets the smaller tensors of a network with the same
outputs, for a model that is built with the sizes that are printed.

\b
Exit status
  0  repaired, or nothing to repair, or --dry-run
  1  the repair was rolled back; nothing was written
  2  wrong usage or input
"""


@click.command("repair", help=HELP)
@click.argument("model")
@click.option("--data", required=True, metavar="DATA", help="The evidence, as for leaky check.")
@click.option("--weights", metavar="FILE", help="The state dict to repair, .pt or .safetensors.")
@click.option("--out", metavar="FILE", help="Where the repaired state dict goes, .pt or .safetensors.")
@click.option("--recipe", metavar="FILE", help="Where what weights cannot hold goes. [OUT.recipe.json, if any]")
@html_options()
@click.option("--prune", "prunes", is_flag=True, help="Write a smaller network with the same outputs instead.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and do nothing.")
@click.option("--negative-slope", type=FINITE, metavar="A", help="Of rectifiers that are put in. [from theory, or .1]")
@click.option(
    "--max-change", type=NOT_NEGATIVE, default=0.05, show_default=True, help="Relative change of the outputs to keep."
)
@click.option("--validate", metavar="CODE", help="file.py:name of a function of the model that returns your metric.")
@click.option("--train", metavar="CODE", help="file.py:name of a function that trains it for some dozens of steps.")
@click.option(
    "--tolerance", type=NOT_NEGATIVE, default=1e-3, show_default=True, help="By how much the metric may get worse."
)
@click.option("--higher-is-better/--lower-is-better", default=True, show_default=True, help="Of the metric.")
@click.option("--max-samples", type=SIZE, metavar="N", help="Use so many samples as evidence at most.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of new weights and of noise.")
def command(
    model: str,
    data: str,
    weights: str | None,
    out: str | None,
    recipe: str | None,
    html: str | None,
    html_dir: str | None,
    prunes: bool,
    dry_run: bool,
    negative_slope: float | None,
    max_change: float,
    validate: str | None,
    train: str | None,
    tolerance: float,
    higher_is_better: bool,
    max_samples: int | None,
    seed: int,
) -> int:
    """Plan, apply, write; see HELP."""
    asked = recipe is not None
    recipe = recipe if recipe is not None or out is None else f"{out}.recipe.json"
    _check_places(out, recipe, dry_run)
    check_page_places(html, html_dir)
    check_apart((("--out", out), ("--recipe", recipe), ("--html", html)), (model, data, validate, train))
    if train is not None and validate is None:
        raise click.UsageError("--train must come with --validate, the metric that says which way learns best")
    if prunes:
        refused = {"--recipe": asked, "--validate": validate, "--negative-slope": negative_slope is not None}
        refused |= {"--html": html, "--html-dir": html_dir}
        _refuse(name for name, given in refused.items() if given)
    with own_stdout():
        metric, training = _function(validate, "--validate"), _function(train, "--train")
        network, given, evidence = _loaded(model, weights, data, seed, max_samples)
    if prunes:
        return _prune(network, evidence, None if dry_run else out)
    from leaky.checkup import checked
    from leaky.repairing.api import repair
    from leaky.repairing.plan import FORGOTTEN
    from leaky.report.drawing import Drawing
    from leaky.report.view import line

    limits: dict[str, Any] = {"tolerance": tolerance, "higher_is_better": higher_is_better, "max_change": max_change}
    with own_stdout():
        checkup = checked(*evidence)
        plan = repair(network, checkup, given.batches, negative_slope=negative_slope, seed=seed)
        plan = plan if training is not None else plan.without(FORGOTTEN)  # nothing else holds an optimizer
        done = None if dry_run else plan.apply(validate=metric, train=training, **limits)
    view = plan.view()
    if given.on_noise:
        view += (line("On noise: units that noise never reaches may well be alive on real data.", "warning"),)
    if done is not None:
        view += done.view()
    kept = done is not None and done.kept
    files = _files(network, done.recipe, out, recipe, asked) if done is not None and kept else []
    files += pages("plan", plan.plan, html, html_dir) if done is None else pages("repair", done, html, html_dir)
    with written_first(files):
        show(Drawing(view))
    return 0 if kept or dry_run else 1


def _refuse(options: Iterable[str]) -> None:
    wrong = list(options)
    if wrong:
        raise click.UsageError(f"--prune leaves the function as it is: leave out {' and '.join(wrong)}")


def _loaded(
    model: str, weights: str | None, data: str, seed: int, max_samples: int | None
) -> tuple[nn.Module, LoadedData, Evidence]:
    """The network, its data, and how to look at them."""
    from leaky.checkup import CheckArguments, Labels
    from leaky.commands.loading import load_data, load_model

    subject = load_model(model, weights=weights, seed=seed)
    given = load_data(data, subject, seed=seed)
    arguments = CheckArguments(subject.network, given.batches, max_samples=max_samples, seed=seed)
    return subject.network, given, (arguments, Labels(subject.name, on_noise=given.on_noise))


def _prune(network: nn.Module, evidence: Evidence, out: str | None) -> int:
    """Show what can be taken out, and write the smaller network's weights."""
    from leaky.checkup import checked
    from leaky.repairing.pruning import prune
    from leaky.report.drawing import Drawing
    from leaky.report.view import line

    with own_stdout():
        found = prune(network, evidence[0].data, checked(*evidence))
    sizes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    smaller = {name: tuple(value.shape) for name, value in found.model.state_dict().items()}
    view = found.view()
    for name, shape in smaller.items():
        if shape != sizes[name]:
            view += (line(f"{name}: {_size(sizes[name])} → {_size(shape)}"),)
    with written_first([] if out is None else [(out, lambda path: _write_weights(found.model, path))]):
        show(Drawing(view))
    return 0


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _check_places(out: str | None, recipe: str | None, dry_run: bool) -> None:
    """Everything that can be known to fail at the end is told at the start."""
    if not dry_run and out is None:
        raise click.UsageError("--out says where the repaired weights go; --dry-run only shows the plan")
    if out is not None and Path(out).suffix not in (".pt", ".pth", ".safetensors"):
        raise click.UsageError(f"--out must end in .pt or .safetensors, not {Path(out).suffix!r}")
    if out is not None and out.endswith(".safetensors") and importlib.util.find_spec("safetensors") is None:
        raise MissingExtraError(f"writing {out!r} needs safetensors: pip install 'leaky[safetensors]'")
    for option, path in (("--out", out), ("--recipe", recipe)):
        if path is not None:
            must_be_writable(path, option)


def _function(name: str | None, role: str) -> Any:
    if name is None:
        return None
    found = resolve(name, role)
    if not callable(found):
        raise InputError(f"{role} must name a function of the model; {name!r} is a {type(found).__name__}")
    return found


def _files(
    network: nn.Module, kept: Recipe, out: str | None, recipe: str | None, asked: bool
) -> list[tuple[str, Callable[[str], None]]]:
    """What to write; the recipe comes first: weights that need one are of no use without."""
    files: list[tuple[str, Callable[[str], None]]] = []
    if recipe is not None and (asked or kept):
        files.append((recipe, kept.save))
    if out is not None:
        files.append((out, lambda path: _write_weights(network, path)))
    return files


def _write_weights(model: nn.Module, path: str) -> None:
    state = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    if path.endswith(".safetensors"):
        from safetensors.torch import save

        write_whole(path, save(state))
        return
    import torch

    content = io.BytesIO()
    torch.save(state, content)
    write_whole(path, content.getvalue())
