"""The pictures of README, from real runs: `make docs-images`.

terminal.svg is what `leaky check` prints for the network of the demo; leaky.svg is what `leaky plot` draws.
"""

from __future__ import annotations

import io
import re
import runpy
from pathlib import Path

import torch
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

import leaky
from leaky.checkup import checked
from leaky.observation import Options

HERE = Path(__file__).parent
IMAGES = HERE / "images"
WIDTH = 92
COMMAND = "leaky check examples/digits_demo.py:network --data digits.npy --weights hit.pt"


def terminal() -> str:
    """A real run on the demo's network, as rich draws a terminal."""
    demo = runpy.run_path(str(HERE.parent / "examples" / "digits_demo.py"))
    torch.set_num_threads(1)
    x, y = demo["digits"]()
    model, _ = demo["learned_and_hit"](x, y)
    options = Options(model_name="examples/digits_demo.py:network", data_name="digits.npy")
    checkup = checked(model, x, options)
    console = Console(record=True, width=WIDTH, force_terminal=True, color_system="truecolor", file=io.StringIO())
    console.print(Text.assemble(("$ ", "bold green"), COMMAND, "\n"))
    console.print(checkup)
    drawn = console.export_svg(title="leaky check", theme=MONOKAI, unique_id="leaky")
    return without_web_fonts(drawn)


def without_web_fonts(drawn: str) -> str:
    """The picture without fonts from the network: it must look the same offline."""
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    return drawn.replace("Fira Code, monospace", "Menlo, Consolas, 'DejaVu Sans Mono', monospace")


def main() -> None:
    """Draw them all."""
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / "terminal.svg").write_text(terminal(), encoding="utf-8")
    leaky.plot(slopes=(0.0, 0.01, 0.1, 0.3), out=IMAGES / "leaky.svg")
    for image in sorted(IMAGES.glob("*.svg")):
        print(f"Wrote {image.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
