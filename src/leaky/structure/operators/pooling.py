"""Operators over some of the axes: pools, reductions, softmax, normalisations."""

from __future__ import annotations

from dataclasses import replace

from leaky.structure.axes import Axes, plain, renewed, summed
from leaky.structure.graph import Call, Node
from leaky.structure.operators.operator import Operator, dims_of, family, like_the_data


def _reduce(call: Call) -> list[Axes]:
    node, shape = call.args[0], call.shapes[0]
    gone = dims_of(call.get("dim"), len(node.shape))
    if gone is None or node.shape == shape:
        return like_the_data(call)
    keeps = len(shape) == len(node.shape)
    kept: Axes = tuple(axis if d not in gone else () for d, axis in enumerate(node.axes) if keeps or d not in gone)
    return [summed(kept, [node.axes[d] for d in gone])] * len(call.shapes)


def _transformed(call: Call) -> list[Axes]:
    """A Fourier transform: every frequency sums over the axis; units along it are frequencies, if no part is left."""
    node, shape = call.args[0], call.shapes[0]
    gone = dims_of(call.get("dim"), len(node.shape)) or set()
    parts = [f for d, axis in enumerate(node.axes) if d not in gone for f in axis if f.role == "unit"]
    kept = tuple(() if d in gone and parts else axis for d, axis in enumerate(node.axes))
    kept = summed(kept, [tuple(parts)]) if parts else kept
    return [
        tuple(
            (plain([size])[0] if parts else renewed(axis, size, ("unit",))) if d in gone else axis
            for d, (axis, size) in enumerate(zip(kept, shape, strict=True))
        )
    ]


def _first(call: Call) -> list[Axes]:
    """The result that has the value's shape has its axes; statistics beside it tell nothing."""
    value: Node = call.args[0]
    return [value.axes if shape == value.shape else plain(shape) for shape in call.shapes]


_POOL = Operator("", like_the_data, "pools", "pools", keeps_scale=True)
_SMOOTH = Operator("", like_the_data, "pools", "pools")
_REDUCTION = Operator("", _reduce, "mixes")


def _over(row: Operator, axes: int, names: str) -> list[Operator]:
    return family(replace(row, spatial=axes), names)


ROWS = [
    *_over(_POOL, 1, "avg_pool1d _adaptive_avg_pool1d adaptive_avg_pool1d"),
    *_over(_POOL, 2, "avg_pool2d _adaptive_avg_pool2d adaptive_avg_pool2d mkldnn_adaptive_avg_pool2d"),
    *_over(_POOL, 3, "avg_pool3d _adaptive_avg_pool3d adaptive_avg_pool3d"),
    *_over(_POOL, 2, "max_pool2d max_pool2d_with_indices mkldnn_max_pool2d"),
    *_over(_POOL, 3, "max_pool3d max_pool3d_with_indices"),
    *_over(_SMOOTH, 2, "adaptive_max_pool2d"),
    *_over(_SMOOTH, 3, "adaptive_max_pool3d"),
    *_over(_POOL, 1, "upsample_nearest1d"),
    *_over(_POOL, 2, "upsample_nearest2d"),
    *_over(_POOL, 3, "upsample_nearest3d"),
    *_over(_SMOOTH, 1, "upsample_linear1d"),
    *_over(_SMOOTH, 2, "upsample_bilinear2d upsample_bicubic2d"),
    *_over(_SMOOTH, 3, "upsample_trilinear3d"),
    Operator("mean", _reduce, "reduces", "pools", keeps_scale=True),
    Operator("sum", _reduce, "reduces", keeps_scale=True, arguments=("self", "dim")),
    *family(Operator("", _reduce, "reduces", "pools"), "amax amin"),
    *family(Operator("", _reduce, "reduces"), "max min"),
    *family(_REDUCTION, "var std norm linalg_vector_norm logsumexp argmax argmin prod any all var_mean"),
    *family(Operator("", _transformed, arguments=("self", "dim")), "_fft_r2c _fft_c2c _fft_c2r"),
    *family(Operator("", like_the_data, squashes=True), "_softmax _log_softmax softmax log_softmax"),
    *family(Operator("", like_the_data), "cumsum cumprod"),
    *family(
        Operator("", _first, "normalises", "batch_norm"),
        "native_batch_norm cudnn_batch_norm miopen_batch_norm _native_batch_norm_legit_no_training "
        "_native_batch_norm_legit _batch_norm_no_update _batch_norm_with_update",
    ),
    *family(Operator("", _first, "mixes", "layer_norm"), "native_layer_norm native_group_norm"),
    *family(Operator("", _first, "mixes", "rms_norm"), "_fused_rms_norm rms_norm"),
]
