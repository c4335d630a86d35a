"""Numbers, lists and untrusted words for people: the one place that words them.

Layer names come from the user's model or from a file: nothing in them may steer a terminal or a page, or fill it. A
terminal that knows ASCII alone must get words that it can show.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

LONGEST = 300
"""Characters of a word or a name from outside that are shown."""

_ASCII = str.maketrans(
    {
        "α": "alpha", "δ": "delta", "τ": "tau", "σ": "sigma", "θ": "theta", "Σ": "sum ", "∂": "d", "√": "sqrt",
        "≤": "<=", "≥": ">=", "≈": "~", "≠": "!=", "±": "+-", "×": "x", "÷": "/", "∞": "inf", "−": "-", "–": "-",
        "—": "-", "…": "...", "→": "->", "↦": "->", "·": "-", "²": "^2", "₀": "_0", "‖": "||", "′": "'",
        "“": '"', "”": '"', "‘": "'", "’": "'", "█": "#", "▓": "x", "▒": "?", "░": ".",
    }
)  # fmt: skip


def printable(text: str) -> str:
    r"""`text` as it may be shown anywhere: the one escape of untrusted words.

    Each character that is not for showing (control, escape, direction override, half a surrogate pair) is spelled out,
    as \x1b or \u202e; of a word of more than `LONGEST` characters, the middle is left out.
    """
    spelled = "".join(_escaped(c) if unicodedata.category(c) in _UNSHOWN else c for c in text)
    return _LONG_WORD.sub(lambda found: shortened(found[0]), spelled)


def in_a_line(text: str) -> str:
    """`text` as it may be shown anywhere, in one line: breaks and runs of blanks become a space."""
    return printable(" ".join(text.split()))


_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_LONG_WORD = re.compile(rf"\S{{{LONGEST + 1},}}")


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def shortened(text: str, most: int = LONGEST) -> str:
    """`text` with an ellipsis in the middle where it has more than `most` characters."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def named(name: str) -> str:
    """A name from outside in quotes, as an error says it: printable, of at most `LONGEST` characters."""
    return repr(shortened(name))


def ascii_only(text: str) -> str:
    """`text` in ASCII: the signs that leaky writes are spelled out, anything else is escaped."""
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def number(value: float) -> str:
    """A number in few characters, to two figures: "1797", "12", "0.012", "−3.1e7"; "–" where there is none."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    text = f"{value:.0f}" if 100 <= size < 99_999.5 else f"{value:.2g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−")


def share(value: float) -> str:
    """A share for a table, in two figures as long as that does not make all of it: .0123 → "1.2%", .997 → "99.7%"."""
    if not math.isfinite(value):
        return "–"
    percent = 100 * value
    if percent >= 99.5:
        return percentage(value)
    return f"{percent:.0f}%" if percent >= 9.95 or percent == 0 else f"{percent:.2g}%"


def ranges(units: Sequence[int], most: int = 12) -> str:
    """Ascending indices with runs drawn together: "0–3, 7, 9–10 and 5 more"; at most `most` runs are shown."""
    runs: list[list[int]] = []
    for unit in units:
        if runs and unit == runs[-1][1] + 1:
            runs[-1][1] = unit
        else:
            runs.append([unit, unit])
    shown = [str(first) if first == last else f"{first}–{last}" for first, last in runs[:most]]
    rest = sum(last - first + 1 for first, last in runs[most:])
    return ", ".join(shown) + (f" and {rest:,} more" if rest else "")


def counted(count: int, noun: str) -> str:
    """A count with its noun: "1 unit", "1,797 units"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def percentage(value: float) -> str:
    """A share that must not be rounded to all or nothing: .0123 → "1.2%", .9997 → "99.970%", 1.0 → "100%"."""
    percent = 100 * value
    if percent in (0.0, 100.0):
        return f"{percent:.0f}%"
    if 99.95 <= percent < 100:
        return f"{percent:.3f}%" if percent < 99.9995 else ">99.999%"
    return f"{percent:.1f}%" if percent >= 1 else f"{percent:.2g}%"


def listed(items: Iterable[object], most: int = 8) -> str:
    """Some items and how many more there are: "a, b, c and 5 more"; "none" for none."""
    words = [str(item) for item in items]
    rest = len(words) - most
    return (", ".join(words[:most]) + (f" and {rest:,} more" if rest > 0 else "")) or "none"


def together(items: Sequence[str]) -> str:
    """All items as a sentence has them: "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


MOST_CHOICES = 40
"""Names that an error lists."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the nearest known one, or what there is."""
    import difflib

    choices = list(known)
    near = difflib.get_close_matches(name, choices, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; it must be one of {listed(choices, MOST_CHOICES)}"
