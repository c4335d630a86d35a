"""Operators that work on each element by itself."""

from __future__ import annotations

from leaky.structure.operators.operator import Operator, family, like_the_data

_JOINS = Operator("", like_the_data, "joins")

ROWS = [
    *family(
        Operator("", like_the_data, "joins", "same", same_value=True, keeps_scale=True),
        "clone contiguous _to_copy lift_fresh dropout",
    ),
    Operator("native_dropout", like_the_data, "joins", "same", keeps_scale=True),
    Operator("neg", like_the_data, "joins", "same", keeps_scale=True),
    *family(Operator("", like_the_data, "joins", "sum", keeps_scale=True, arguments=("self", "other")), "add sub rsub"),
    *family(Operator("", like_the_data, "scales", "scales", keeps_scale=True, arguments=("self", "other")), "mul div"),
    Operator("copy", like_the_data, "compares", "same", keeps_scale=True),
    *family(Operator("", like_the_data, "compares"), "gt ge lt le eq ne"),
    *family(
        _JOINS,
        "abs exp log sqrt rsqrt square pow tanh sigmoid sign reciprocal log1p expm1 sin cos erf isnan logical_not "
        "nan_to_num maximum fmax minimum fmin where masked_fill addcmul addcdiv",
    ),
    *family(
        _JOINS,
        "relu relu6 leaky_relu hardtanh clamp clip clamp_min clamp_max prelu _prelu_kernel rrelu rrelu_with_noise "
        "threshold gelu silu mish hardswish hardsigmoid elu selu celu softplus log_sigmoid_forward",
    ),
]
