"""Prints what leaky and some of its extras require, but for torch: `python tools/requirements.py plot onnx`."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def main(extras: list[str]) -> None:
    """Read them from pyproject.toml, with a pattern: Python 3.10 has no reader of TOML."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8")
    for name in ("dependencies", *extras):
        found = re.search(rf"^{name} = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
        if found is None:
            sys.exit(f"pyproject.toml has no {name!r}")
        for requirement in re.findall(r'"([^"]+)"', found.group(1)):
            if not requirement.startswith("torch"):
                print(f"'{requirement}'" if " " in requirement else requirement)


if __name__ == "__main__":
    main(sys.argv[1:])
