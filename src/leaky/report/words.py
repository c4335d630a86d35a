"""Numbers and untrusted words for people.

Layer names come from the user's model or from a file: nothing in them may steer a terminal. A terminal that knows
ASCII alone must get words that it can show.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

_ASCII = str.maketrans(
    {
        "α": "alpha", "δ": "delta", "τ": "tau", "σ": "sigma", "θ": "theta", "Σ": "sum ", "∂": "d", "√": "sqrt",
        "≤": "<=", "≥": ">=", "≈": "~", "≠": "!=", "±": "+-", "×": "x", "÷": "/", "∞": "inf", "−": "-", "–": "-",
        "—": "-", "…": "...", "→": "->", "↦": "->", "·": "-", "²": "^2", "₀": "_0", "‖": "||", "′": "'",
        "“": '"', "”": '"', "‘": "'", "’": "'", "█": "#", "▓": "x", "▒": "?", "░": ".",
    }
)  # fmt: skip


def printable(text: str) -> str:
    r"""`text` with each character that is not for showing (control, escape, direction override) as \x1b or \u202e."""
    return "".join(_escaped(c) if unicodedata.category(c) in _UNSHOWN else c for c in text)


_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


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
    """A share as a percentage with two figures: .0123 → "1.2%", 1.0 → "100%"."""
    if not math.isfinite(value):
        return "–"
    percent = 100 * value
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
