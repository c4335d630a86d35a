"""Several slopes behind one option, for every verb that takes them."""

from __future__ import annotations

import click
import pytest

from leaky.commands.options import TakesSlopes


@pytest.mark.parametrize(
    ("arguments", "slopes", "rest"),
    [
        (["--slopes", "0", ".01", "--out", "a"], ("0", ".01"), ()),
        (["--slopes", "-.1", "1e-3"], ("-.1", "1e-3"), ()),
        (["--slopes", "1", "--slopes", "2"], ("1", "2"), ()),
        (["--slopes", "prelu", "0.1/0.2", "steam"], ("prelu", "0.1/0.2"), ("steam",)),
        (["2", "3"], (), ("2", "3")),
    ],
)
def test_slopes_take_several_values(arguments: list[str], slopes: tuple[str, ...], rest: tuple[str, ...]) -> None:
    seen: dict[str, object] = {}

    @click.command(cls=TakesSlopes)
    @click.argument("others", nargs=-1)
    @click.option("--slopes", multiple=True)
    @click.option("--out")
    def verb(**given: object) -> None:
        seen.update(given)

    verb.main(arguments, standalone_mode=False)
    assert (seen["slopes"], seen["others"]) == (slopes, rest)
