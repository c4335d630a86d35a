"""Operators that make a value anew: of their arguments' values nothing is in it, only their shapes.

What is filled with numbers is a constant. What is drawn at random is an input that the model makes by itself: its
origin is as unknown as that of a value that came from outside torch.
"""

from __future__ import annotations

from dataclasses import replace

from leaky.structure.operators.operator import Operator, family, like_the_data

_FILLED = Operator("", like_the_data, "creates")
_DRAWN = Operator("", like_the_data, "creates", random=True)

ROWS = [
    *family(replace(_FILLED, fill=0.0), "zeros zeros_like new_zeros"),
    *family(replace(_FILLED, fill=1.0), "ones ones_like new_ones"),
    *family(_FILLED, "full full_like new_full empty empty_like empty_strided new_empty new_empty_strided"),
    *family(_FILLED, "scalar_tensor arange linspace eye"),
    *family(_DRAWN, "rand_like randn_like randint_like rand randn randint randperm"),
    *family(_DRAWN, "random exponential geometric cauchy log_normal"),
]
