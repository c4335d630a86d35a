"""The verbs that choose a slope and repair: `leaky slope`, `leaky repair`. They parse, call, print.

torch comes at first use.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from torch import nn

    from leaky.repairing.recipe import Recipe
    from leaky.theory import TailoredSlope

REPAIR_HELP = """Win back the dead units of MODEL without moving its function, or leave it alone.

MODEL and DATA are as for leaky check. The change is kept if the outputs move by at most --max-change of their size,
or, with --validate, if your metric gets no worse than by --tolerance; otherwise nothing is written. With --train as
well, the model as it was, repaired, and begun anew are each trained for a while, and the best is kept. A model of which
the weights do not hold everything is rebuilt with leaky.repair(model, RECIPE) before they are loaded.

\b
Exit status
  0  repaired, or nothing to repair, or --dry-run
  1  the repair was rolled back; nothing was written
  2  wrong usage or input
"""

DEPTHS = (10, 13, 20, 30, 50, 75, 100, 150, 200)


@click.command()
@click.argument("model", required=False)
@click.option(
    "--target", "targets", type=float, multiple=True, metavar="C", help="Correlation to reach, in (0, 1). [.9; .9 .95]"
)
@click.option("--depth", type=click.IntRange(min=1), metavar="L", help="Layers of a plain network, in place of MODEL.")
@click.option("--data", metavar="DATA", help="What to run MODEL on, where its first layer does not tell.")
def slope(model: str | None, targets: tuple[float, ...], depth: int | None, data: str | None) -> None:
    """Say which negative slope theory gives MODEL, and why; without one, a table of depth against slope.

    Deep networks without normalisation make all inputs look alike; the slope is the one at which two orthogonal inputs
    reach the correlation of --target behind the network, every layer being initialised for that slope.

    MODEL is package.module:name or path/to/file.py:name of a torch.nn.Module or of a function that returns one.
    """
    if model is not None and depth is not None:
        raise click.UsageError("either MODEL or --depth can be given, not both")
    if model is None and depth is None:
        click.echo(_table(targets or (0.9, 0.95)))
        return
    from leaky import theory

    network: Any = depth
    example = None
    if model is not None:
        network, example = _loaded(model, data)
    for target in targets or (0.9,):
        found = theory.tailored_slope(network, target, example=example)
        click.echo(_sentence(found, model or f"a plain network of {depth} layers"))


def _loaded(name: str, data: str | None) -> tuple[Any, Any]:
    from leaky.loading import load_data, load_model

    subject = load_model(name)
    return _torch_model(subject.model, name), None if data is None else load_data(data, subject).batches


def _sentence(found: TailoredSlope, name: str) -> str:
    if found.reachable:
        lines = [
            f"negative_slope {found.negative_slope:.10g} for {name}",
            f"  With it two orthogonal inputs leave the network with correlation {found.correlation:.4g}.",
            f"  Initialise with leaky.initialize(model, negative_slope={found.negative_slope:.4g}), or scale each "
            f"output by {found.output_scale:.10g}.",
        ]
    else:
        lines = [
            f"negative_slope 0 for {name}: it is too shallow to need a leak",
            f"  Even at slope 0, orthogonal inputs only reach the correlation {found.correlation:.10g}, "
            f"below the target {found.target:g}.",
        ]
    return "\n".join([*lines, *(f"  Assumed: {assumption}." for assumption in found.assumptions)])


def _table(targets: tuple[float, ...]) -> str:
    from leaky import theory

    rows = [["layers", *(f"target {target:g}" for target in targets)]]
    for depth in DEPTHS:
        found = [theory.tailored_slope(depth, target) for target in targets]
        rows.append([str(depth), *(_cell(one) for one in found)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    heading = "The negative slope of plain networks (no shortcuts, no normalisation), by depth:"
    footing = "0 (c): the target is out of reach; at slope 0 orthogonal inputs reach the correlation c."
    return "\n".join([heading, "", *lines, "", footing])


def _cell(found: TailoredSlope) -> str:
    return f"{found.negative_slope:.10f}" if found.reachable else f"0 ({found.correlation:.4f})"


@click.command(help=REPAIR_HELP)
@click.argument("model")
@click.option("--data", required=True, metavar="DATA", help="The evidence, as for leaky check.")
@click.option("--weights", metavar="FILE", help="The state dict to repair, .pt or .safetensors.")
@click.option("--out", metavar="FILE", help="Where the repaired state dict goes, .pt or .safetensors.")
@click.option("--recipe", metavar="FILE", help="Where what weights cannot hold goes. [OUT.recipe.json, if any]")
@click.option("--dry-run", is_flag=True, help="Say what would be done and do nothing.")
@click.option("--negative-slope", type=float, metavar="A", help="Of rectifiers that are put in. [from theory, or .1]")
@click.option(
    "--max-change", type=float, default=0.05, show_default=True, help="Relative change of the outputs to keep."
)
@click.option("--validate", metavar="CODE", help="file.py:name of a function of the model that returns your metric.")
@click.option("--train", metavar="CODE", help="file.py:name of a function that trains it for some dozens of steps.")
@click.option("--tolerance", type=float, default=1e-3, show_default=True, help="By how much the metric may get worse.")
@click.option("--lower-is-better", is_flag=True, help="The metric is a loss.")
@click.option("--max-samples", type=click.IntRange(min=1), metavar="N", help="Use so many samples as evidence at most.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of new weights and of noise.")
def repair(
    model: str,
    data: str,
    weights: str | None,
    out: str | None,
    recipe: str | None,
    dry_run: bool,
    negative_slope: float | None,
    max_change: float,
    validate: str | None,
    train: str | None,
    tolerance: float,
    lower_is_better: bool,
    max_samples: int | None,
    seed: int,
) -> int:
    """Plan, apply, write; see REPAIR_HELP."""
    asked = recipe is not None
    recipe = recipe if recipe is not None or out is None else f"{out}.recipe.json"
    _check_places(out, recipe, dry_run, (data, model.rpartition(":")[0]))
    if train is not None and validate is None:
        raise click.UsageError("--train must come with --validate, the metric that says which way learns best")
    from leaky.checkup import check
    from leaky.loading import load_data, load_model
    from leaky.repairing.planning import repair as planned

    metric, training = _function(validate, "--validate"), _function(train, "--train")
    subject = load_model(model, weights=weights, seed=seed)
    network = _torch_model(subject.model, model)
    given = load_data(data, subject, seed=seed)
    checkup = check(
        network, given.batches, max_samples=max_samples, seed=seed, model_name=subject.name, on_noise=given.on_noise
    )
    plan = planned(network, checkup, given.batches, negative_slope=negative_slope, seed=seed)
    click.echo(str(plan))
    if given.on_noise:
        click.echo("On noise: units that noise never reaches may well be alive on real data.")
    if dry_run:
        return 0
    done = plan.apply(
        validate=metric,
        train=training,
        tolerance=tolerance,
        higher_is_better=not lower_is_better,
        max_change=max_change,
    )
    click.echo(str(done))
    if not done.kept:
        return 1
    _write(network, done.recipe, out, recipe, asked)
    return 0


def _check_places(out: str | None, recipe: str | None, dry_run: bool, inputs: tuple[str, ...]) -> None:
    """Everything that can be known to fail at the end is told at the start."""
    if not dry_run and out is None:
        raise click.UsageError("--out says where the repaired weights go; --dry-run only shows the plan")
    if out is not None and Path(out).suffix not in (".pt", ".pth", ".safetensors"):
        raise click.UsageError(f"--out must end in .pt or .safetensors, not {Path(out).suffix!r}")
    taken = [Path(name).resolve() for name in inputs if name]
    for option, path in (("--out", out), ("--recipe", recipe)):
        if path is None:
            continue
        place = Path(path).resolve()
        if not path or place.is_dir() or not place.parent.is_dir() or not os.access(place.parent, os.W_OK):
            raise click.UsageError(
                f"{option} must name a file in a folder that exists and can be written to, not {path!r}"
            )
        if place in taken:
            raise click.UsageError(f"{option} must not be {path!r}, which is read or written as something else")
        taken.append(place)


def _function(name: str | None, role: str) -> Any:
    from leaky.errors import InputError
    from leaky.loading.names import resolve

    if name is None:
        return None
    found = resolve(name, role)
    if not callable(found):
        raise InputError(f"{role} must name a function of the model; {name!r} is a {type(found).__name__}")
    return found


def _write(network: nn.Module, kept: Recipe, out: str | None, recipe: str | None, asked: bool) -> None:
    """The recipe comes first: weights that need one are of no use without."""
    if recipe is not None and (asked or kept):
        kept.save(recipe)
        click.echo(f"Wrote {recipe}", err=True)
    if out is not None:
        _write_weights(network, out)
        click.echo(f"Wrote {out}", err=True)


def _torch_model(model: Any, name: str) -> nn.Module:
    from leaky.errors import InputError

    if not hasattr(model, "named_parameters"):
        raise InputError(f"MODEL must be code that makes a torch.nn.Module; {name!r} is not")
    return model  # type: ignore[no-any-return]


def _write_weights(model: nn.Module, path: str) -> None:
    from leaky.errors import MissingExtraError
    from leaky.files import write_whole

    state = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    if path.endswith(".safetensors"):
        try:
            from safetensors.torch import save
        except ImportError as error:
            raise MissingExtraError(f"writing {path!r} needs safetensors: pip install 'leaky[safetensors]'") from error
        write_whole(path, save(state))
        return
    import io

    import torch

    content = io.BytesIO()
    torch.save(state, content)
    write_whole(path, content.getvalue())


COMMANDS = (slope, repair)
"""What the command line adds to its group."""
