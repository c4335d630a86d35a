"""`python -m leaky`, and what `leaky` runs: signals are heard before anything else is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and end the program with its status."""
    from leaky.commands.signals import heard

    with heard():
        from leaky.commands import run

        status = run()
    sys.exit(status)


if __name__ == "__main__":
    main()
