"""Arguments of the command line that click has no type for."""

from __future__ import annotations

from collections.abc import Sequence

import click


def axis(text: str | None) -> int | str | None:
    """An axis, None for "none", "auto" where nothing was said."""
    if text is None:
        return "auto"
    if text == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a whole number nor none", param_hint="--batch-dim") from None


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
    """Understands `--slopes 0 .01 .1`; click itself knows only a fixed number of values behind an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _spread(args, "--slopes"))


def _spread(arguments: Sequence[str], option: str) -> list[str]:
    """`option` in front of each of the numbers that follow it."""
    spread: list[str] = []
    following = False
    for argument in arguments:
        number = _is_number(argument)
        if following and number and spread[-1] != option:
            spread.append(option)
        following = argument == option or (following and number)
        spread.append(argument)
    return spread


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
