"""`python -m benchmarks.activation [--quick]`: prints every row, and keeps them as JSON and as a picture."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import leaky
from benchmarks.activation import memory_rows, rows, statistics_rows
from benchmarks.activation.picture import draw
from benchmarks.activation.rows import Row
from benchmarks.timing import machine

RESULTS = Path(__file__).parents[1] / "results"


@click.command()
@click.option("--quick", is_flag=True, help="Fewer sizes and a shorter time for each, for a first look.")
@click.option("--seconds", type=float, help="Seconds a figure may take.")
@click.option("--only", default="", help="Only the sections whose name holds this.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Where activation.json goes.")
def main(quick: bool, seconds: float | None, only: str, out: Path) -> None:
    """How fast the activation is, against torch and NumPy, in ratios of medians of interleaved runs."""
    console = Console()
    about = machine() | {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "core": str(leaky.build_info()),
    }
    console.print(" · ".join(f"{key} {value}" for key, value in about.items()))
    found: list[Row] = []
    for section in (*rows.SECTIONS, *memory_rows.SECTIONS, *statistics_rows.SECTIONS):
        if only in section.__name__:
            for row in section(seconds or (0.5 if quick else 4.0), quick):
                found.append(row)
                console.print(_line(row))
    console.print(_table(found))
    if not only:
        out.mkdir(parents=True, exist_ok=True)
        report = {"machine": about, "quick": quick, "rows": [asdict(row) | {"met": row.met} for row in found]}
        (out / "activation.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        draw(found, about, out / "activation.svg")


def _line(row: Row) -> str:
    bound = f"{'≥' if row.at_least else '≤'} {row.target:.3g}"
    unit = "" if row.unit == "ratio" else f" {row.unit}"
    limit = "" if row.limit is None else f", a copy {row.limit:.3f}"
    return f"{'met   ' if row.met else 'MISSED'} {row.value:6.3f}{unit} ({bound}{limit})  {row.work} ÷ {row.against}"


def _table(found: list[Row]) -> Table:
    table = Table("work", "against", "measured", "target", "")
    for row in found:
        unit = "" if row.unit == "ratio" else f" {row.unit}"
        bound = f"{'≥' if row.at_least else '≤'} {row.target:.3g}{unit}"
        table.add_row(row.work, row.against, f"{row.value:.3f}{unit}", bound, "met" if row.met else "missed")
    return table


if __name__ == "__main__":
    main()
