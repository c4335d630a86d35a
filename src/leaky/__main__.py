"""`python -m leaky`, and what `leaky` runs: signals are heard before anything else is imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and end the program with its status."""
    from leaky.signals import STATUSES, Terminated, end, heard, status_of, tell_what_was_swallowed

    try:
        with heard():
            from leaky.commands import run

            tell_what_was_swallowed()
            status = run()
    except (KeyboardInterrupt, Terminated) as arrived:  # while it was imported
        status = status_of(arrived)
    if status in STATUSES.values():
        end(status)
    sys.exit(status)


if __name__ == "__main__":
    main()
