"""Options that verbs share, and arguments that click has no type for."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from typing import Any

import click

from leaky.errors import InputError
from leaky.text import shortened
from leaky.tuning.arms import slope_from

json_option = click.option(
    "--json", "json_path", metavar="PATH", help="Write JSON there as well; - writes it alone to stdout."
)
"""Of every verb that has a result."""


_HTML = {
    "--html": click.option("--html", metavar="FILE.html", help="Write the result as one offline page as well."),
    "--html-dir": click.option(
        "--html-dir",
        metavar="DIR",
        help="The page as files in DIR, for servers that forbid inline script.",
    ),
}


def html_options(*names: str) -> Callable[[Any], Any]:
    """Options that write a page; all of them where none is named."""

    def add(command: Any) -> Any:
        for name in reversed(names or tuple(_HTML)):
            command = _HTML[name](command)
        return command

    return add


SEED = click.IntRange(0, 2**63 - 1)
"""What every generator and every storage takes as a seed."""
SIZE = click.IntRange(1, 2**40)
"""Of batches, and of how many samples are looked at."""


class Finite(click.FloatRange):
    """A finite number in a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


FINITE = Finite()
NOT_NEGATIVE = Finite(min=0)
POSITIVE = Finite(min=0, min_open=True)
"""A gain, a bound, a time."""
PROPER_SHARE = Finite(0, 1, min_open=True, max_open=True)
AXIS = click.IntRange(-64, 63)
"""torch knows no more axes."""


def axis(text: str | None) -> int | str | None:
    """An axis, None for "none", "auto" where nothing was said."""
    if text is None:
        return "auto"
    if text == "none":
        return None
    try:
        found = int(text)
    except ValueError:
        words = f"{shortened(text)!r} is neither a whole number nor none"
        raise click.BadParameter(words, param_hint="--sample-dim") from None
    if not -64 <= found <= 63:
        raise click.BadParameter("must be an axis from -64 to 63, or none", param_hint="--sample-dim")
    return found


def thresholds(settings: Sequence[str]) -> dict[str, float]:
    """Thresholds by name from "name=value"."""
    from leaky.diagnosis.thresholds import Thresholds

    known = Thresholds().as_dict()
    values = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        name = name.strip()
        try:
            values[name] = float(value)
        except ValueError:
            raise click.BadParameter(f"{setting!r} is not NAME=NUMBER", param_hint="--set") from None
        if name not in known:
            close = difflib.get_close_matches(name, known, n=3)
            words = f"did you mean {', '.join(close)}?" if close else "docs/rules lists them"
            raise click.BadParameter(f"{name!r} is no threshold; {words}", param_hint="--set")
    return values


class TakesSlopes(click.Command):
    """Understands `--slopes 0 .01 prelu`; click itself knows only a fixed number of values behind an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _spread(args, "--slopes"))


def _spread(arguments: Sequence[str], option: str) -> list[str]:
    """`option` in front of each of the slopes that follow it."""
    spread: list[str] = []
    following = False
    for argument in arguments:
        is_slope = _is_slope(argument)
        if following and is_slope and spread[-1] != option:
            spread.append(option)
        following = argument == option or (following and is_slope)
        spread.append(argument)
    return spread


def _is_slope(text: str) -> bool:
    try:
        slope_from(text)
    except InputError:
        return False
    return True
