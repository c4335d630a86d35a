"""`leaky slope`: the negative slope that theory gives a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from leaky.commands.options import PROPER_SHARE
from leaky.commands.output import own_stdout, say, show

if TYPE_CHECKING:
    from leaky.report.view import View
    from leaky.theory import TailoredSlope

DEPTH = click.IntRange(1, 100_000)
DEPTHS = (10, 13, 20, 30, 50, 75, 100, 150, 200)


@click.command("slope")
@click.argument("model", required=False)
@click.option(
    "--target",
    "targets",
    type=PROPER_SHARE,
    multiple=True,
    metavar="C",
    help="Correlation to reach, in (0, 1). [.9; .9 .95]",
)
@click.option("--depth", type=DEPTH, metavar="L", help="Layers of a plain network, in place of MODEL.")
@click.option("--data", metavar="DATA", help="What to run MODEL on, where its first layer does not tell.")
def command(model: str | None, targets: tuple[float, ...], depth: int | None, data: str | None) -> None:
    """Say which negative slope theory gives MODEL, and why; without one, a table of depth against slope.

    Deep networks without normalisation make all inputs look alike; the slope is the one at which two orthogonal inputs
    reach the correlation of --target behind the network, every layer being initialised for that slope.

    MODEL is package.module:name or path/to/file.py:name of a torch.nn.Module or of a function that returns one.
    """
    if model is not None and depth is not None:
        raise click.UsageError("either MODEL or --depth can be given, not both")
    if model is None and depth is None:
        from leaky.report.drawing import Drawing

        show(Drawing(_table(targets or (0.9, 0.95))))
        return
    from leaky import theory

    network: Any = depth
    if model is not None:
        with own_stdout():
            network = _analysed(model, data)
    name = model or f"a plain network of {depth} layers"
    with own_stdout():
        found = [theory.tailored_slope(network, target) for target in targets or (0.9,)]
    say("\n".join(_sentence(each, name) for each in found))


def _analysed(name: str, data: str | None) -> Any:
    from leaky.commands.loading import load_data, load_model
    from leaky.observation.following import analyse

    subject = load_model(name)
    return analyse(subject.network, None if data is None else load_data(data, subject).batches)


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


def _table(targets: tuple[float, ...]) -> View:
    from leaky import theory
    from leaky.report.view import Column, Gap, Table, line

    rows = [(str(depth), *(_cell(theory.tailored_slope(depth, target)) for target in targets)) for depth in DEPTHS]
    names = ("layers", *(f"target {target:g}" for target in targets))
    heading = "The negative slope of plain networks (no shortcuts, no normalisation), by depth:"
    footing = "0 (c): the target is out of reach; at slope 0 orthogonal inputs reach the correlation c."
    table = Table(tuple(Column(name, numbers=True) for name in names), tuple(rows))
    return (line(heading), Gap(), table, Gap(), line(footing))


def _cell(found: TailoredSlope) -> str:
    return f"{found.negative_slope:.10f}" if found.reachable else f"0 ({found.correlation:.4f})"
