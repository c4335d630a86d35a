"""`leaky plot`: the picture of the function."""

from __future__ import annotations

import click

from leaky.commands.options import FINITE, POSITIVE, TakesSlopes
from leaky.commands.output import note
from leaky.files import must_be_writable


@click.command("plot", cls=TakesSlopes)
@click.option(
    "--slopes", type=FINITE, multiple=True, metavar="A [B ...]", default=(0.0, 0.01, 0.1, 0.3), help="[0 .01 .1 .3]"
)
@click.option("--gain", type=POSITIVE, default=1.0, show_default=True, help="Factor on the output.")
@click.option("--clamp", type=POSITIVE, help="Bound on |y|, after the gain.")
@click.option(
    "--out", required=True, metavar="FILE", help="Picture to write: .svg, .png or .pdf; .html moves α on a slider."
)
def command(slopes: tuple[float, ...], gain: float, clamp: float | None, out: str) -> None:
    """Draw the Leaky ReLU and its derivative."""
    must_be_writable(out, "--out")
    if out.lower().endswith((".html", ".htm")):
        from leaky.report.page import diagram_page

        diagram_page(slopes, gain, clamp).save(out)
        note(f"Wrote {out}")
        return
    from leaky.activation.diagram import plot

    plot(slopes, gain=gain, clamp=clamp, out=out)
    note(f"Wrote {out}")
