"""Options that verbs share, and arguments that click has no type for."""

from __future__ import annotations

from collections.abc import Sequence

import click

from leaky.errors import InputError
from leaky.tuning.arms import slope_from

json_option = click.option(
    "--json", "json_path", metavar="PATH", help="Write JSON there as well; - writes it alone to stdout."
)
"""Of every verb that has a result."""


def axis(text: str | None) -> int | str | None:
    """An axis, None for "none", "auto" where nothing was said."""
    if text is None:
        return "auto"
    if text == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a whole number nor none", param_hint="--sample-dim") from None


def thresholds(settings: Sequence[str]) -> dict[str, float]:
    """Numbers by name from "name=value"."""
    values = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            raise click.BadParameter(f"{setting!r} is not NAME=NUMBER", param_hint="--set") from None
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
