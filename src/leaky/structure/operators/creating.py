"""Operators that make a value anew: of their arguments' values nothing is in it, only their shapes.

What is filled with numbers is a constant. What is drawn at random is an input that the model makes by itself: its
origin is as unknown as that of a value that came from outside torch.
"""

from __future__ import annotations

from leaky.structure.operators.operator import Operator, family, like_the_data

_FILLED = Operator("", like_the_data, "creates")
_DRAWN = Operator("", like_the_data, "creates", random=True)

ROWS = [
    *family(_FILLED, "zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty"),
    *family(_FILLED, "new_empty_strided zeros ones full empty empty_strided scalar_tensor arange linspace eye"),
    *family(_DRAWN, "rand_like randn_like randint_like rand randn randint randperm"),
    *family(_DRAWN, "random exponential geometric cauchy log_normal"),
]
