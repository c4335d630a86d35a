"""For each operator of the table, calls of it on real tensors: what the brute force runs.

A case gets x of float64 with samples on axis 0 and units on axis 1. Names are those of torch's dispatcher.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

SAMPLES, UNITS = 6, 8
aten = torch.ops.aten


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        run: the call on x and, where it has one, on a weight.
        shape: of x.
        weight: the shape of a learned weight; None where it has none.
        silent: whether a value may change without any in the result (a comparison, a maximum).
        divides: whether one unit becomes several of the result's.
        separate: whether its row gives units up though on these axes it keeps them apart (heads of attention).
        ordered: whether what a sample meets depends on its place.
        indices: whether x is whole numbers below UNITS.
    """

    run: Callable[..., object]
    shape: tuple[int, ...] = (SAMPLES, UNITS, 4, 4)
    weight: tuple[int, ...] | None = None
    silent: bool = False
    divides: bool = False
    separate: bool = False
    ordered: bool = False
    indices: bool = False


FLAT, ROW, CUBE = (SAMPLES, UNITS), (SAMPLES, UNITS, 4), (SAMPLES, UNITS, 2, 2, 4)
ORDER = torch.tensor([3, 1, 1, 0, 5, 2])
OTHER = torch.linspace(0.5, 1.5, UNITS * 16, dtype=torch.float64).reshape(1, UNITS, 4, 4)


def _norm(name: str) -> Case:
    ones, zeros = torch.ones(UNITS, dtype=torch.float64), torch.zeros(UNITS, dtype=torch.float64)
    operator = getattr(aten, name)
    if name in ("_native_batch_norm_legit_no_training", "_batch_norm_no_update"):
        return Case(lambda x: operator(x, ones, zeros, zeros, ones, 0.1, 0.0))
    return Case(lambda x: operator(x, ones, zeros, zeros, ones, False, 0.1, 0.0))


def _picked(name: str) -> list[Case]:
    operator = getattr(aten, name)
    index = ORDER.reshape(-1, 1, 1, 1).expand(SAMPLES, UNITS, 4, 4)
    if name in ("index_add", "index_copy"):
        zeros = torch.zeros(9, UNITS, 4, 4, dtype=torch.float64)
        distinct = torch.tensor([3, 1, 4, 0, 5, 8])
        return [Case(lambda x: operator(zeros, 0, distinct if name == "index_copy" else ORDER, x))]
    return [
        Case(
            lambda x: operator(
                torch.zeros(9, UNITS, 4, 4, dtype=torch.float64),
                0,
                index,
                x,
                *(("sum",) if name == "scatter_reduce" else ()),
            ),
            silent=name == "scatter",
        )
    ]


CASES: dict[str, list[Case]] = {
    "view": [Case(lambda x: aten.view(x, [SAMPLES, UNITS * 16])), Case(lambda x: aten.view(x, [SAMPLES, 2, 4, 16]))],
    "_unsafe_view": [Case(lambda x: aten._unsafe_view(x, [SAMPLES, UNITS, 16]))],
    "_reshape_alias": [Case(lambda x: aten._reshape_alias(x, [SAMPLES, UNITS, 16], [UNITS * 16, 16, 1]))],
    "permute": [Case(lambda x: aten.permute(x, [2, 0, 3, 1])), Case(lambda x: aten.permute(x, [0, -1, 1, -2]))],
    "transpose": [Case(lambda x: aten.transpose(x, 1, -1))],
    "t": [Case(aten.t, FLAT)],
    "unsqueeze": [Case(lambda x: aten.unsqueeze(x, -1)), Case(lambda x: aten.unsqueeze(x, 1))],
    "squeeze": [
        Case(lambda x: aten.squeeze(x, 2), (SAMPLES, UNITS, 1, 4)),
        Case(lambda x: aten.squeeze(x), (SAMPLES, UNITS, 1, 4)),
        Case(lambda x: aten.squeeze(x, [2, 3]), (SAMPLES, UNITS, 1, 1)),
    ],
    "alias": [Case(aten.alias)],
    "detach": [Case(aten.detach)],
    "expand": [Case(lambda x: aten.expand(x, [2, SAMPLES, UNITS, 5, 4]), (SAMPLES, UNITS, 1, 4))],
    "repeat": [
        Case(lambda x: aten.repeat(x, [1, 1, 2, 1])),
        Case(lambda x: aten.repeat(x, [3, 1, 1, 1, 2])),
        Case(lambda x: aten.repeat(x, [2, 3]), FLAT),
    ],
    "select": [Case(lambda x: aten.select(x, 2, 1)), Case(lambda x: aten.select(x, 1, 3))],
    "unbind": [Case(lambda x: aten.unbind(x, 2))],
    "slice": [Case(lambda x: aten.slice(x, 1, 2, 7, 2)), Case(lambda x: aten.slice(x, 0, 1, 5))],
    "split": [Case(lambda x: aten.split(x, 3, 1))],
    "split_with_sizes": [Case(lambda x: aten.split_with_sizes(x, [5, 3], 1))],
    "unsafe_split": [Case(lambda x: aten.unsafe_split(x, 3, 1))],
    "unsafe_split_with_sizes": [Case(lambda x: aten.unsafe_split_with_sizes(x, [5, 3], 1))],
    "unfold": [Case(lambda x: aten.unfold(x, 2, 2, 1)), Case(lambda x: aten.unfold(x, 1, 2, 2))],
    "flip": [Case(lambda x: aten.flip(x, [1])), Case(lambda x: aten.flip(x, [0, 2]))],
    "roll": [Case(lambda x: aten.roll(x, [3], [1])), Case(lambda x: aten.roll(x, [1, 2], [0, 3]))],
    "rot90": [Case(lambda x: aten.rot90(x, 1, [2, 3]))],
    "diagonal": [Case(lambda x: aten.diagonal(x, 0, 2, 3)), Case(lambda x: aten.diagonal(x, 0, 1, 2))],
    "pixel_shuffle": [Case(lambda x: aten.pixel_shuffle(x, 2))],
    "pixel_unshuffle": [Case(lambda x: aten.pixel_unshuffle(x, 2), divides=True)],
    "channel_shuffle": [Case(lambda x: aten.channel_shuffle(x, 4))],
    "native_channel_shuffle": [Case(lambda x: aten.native_channel_shuffle(x, 4))],
    "cat": [Case(lambda x: aten.cat([x, x[:, :3]], 1)), Case(lambda x: aten.cat([x, x], 2))],
    "stack": [Case(lambda x: aten.stack([x, x], 1)), Case(lambda x: aten.stack([x, x], -1))],
    "constant_pad_nd": [Case(lambda x: aten.constant_pad_nd(x, [1, 2, 0, 1], 7.0))],
    "reflection_pad1d": [Case(lambda x: aten.reflection_pad1d(x, [1, 2]), ROW)],
    "reflection_pad2d": [Case(lambda x: aten.reflection_pad2d(x, [1, 2, 0, 1]))],
    "reflection_pad3d": [Case(lambda x: aten.reflection_pad3d(x, [1, 2, 0, 1, 1, 1]), CUBE)],
    "replication_pad1d": [Case(lambda x: aten.replication_pad1d(x, [1, 2]), ROW)],
    "replication_pad2d": [Case(lambda x: aten.replication_pad2d(x, [1, 2, 0, 1]))],
    "replication_pad3d": [Case(lambda x: aten.replication_pad3d(x, [1, 2, 0, 1, 1, 1]), CUBE)],
    "im2col": [Case(lambda x: aten.im2col(x, [3, 3], [1, 1], [1, 1], [1, 1]))],
    "index_select": [
        Case(lambda x: aten.index_select(x, 0, ORDER)),
        Case(lambda x: aten.index_select(x, 2, ORDER % 4)),
    ],
    "index": [
        Case(lambda x: aten.index(x, [ORDER])),
        Case(lambda x: aten.index(x, [ORDER > 1])),
        Case(lambda x: aten.index(x, [None, None, ORDER % 4])),
    ],
    "gather": [Case(lambda x: aten.gather(x, 2, torch.zeros(SAMPLES, UNITS, 2, 4, dtype=torch.long)))],
    "topk": [Case(lambda x: aten.topk(x, 3, 1))],
    "sort": [Case(lambda x: aten.sort(x, 1))],
    "kthvalue": [Case(lambda x: aten.kthvalue(x, 2, 1))],
    "_pack_padded_sequence": [
        Case(lambda x: aten._pack_padded_sequence(x, torch.tensor([8, 8, 5, 3, 2, 1]), True), separate=True)
    ],
    **{name: _picked(name) for name in ("scatter", "scatter_add", "scatter_reduce", "index_add", "index_copy")},
    "index_put": [
        Case(lambda x: aten.index_put(torch.zeros(9, UNITS, 4, 4, dtype=x.dtype), [ORDER], x, True)),
        Case(
            lambda x: aten.index_put(torch.zeros(SAMPLES, UNITS, 9, dtype=x.dtype), [None, None, ORDER[:4] + 1], x),
            ROW,
            silent=True,
        ),
    ],
    "clone": [Case(aten.clone)],
    "_to_copy": [Case(lambda x: aten._to_copy(x, dtype=torch.float64))],
    "lift_fresh": [Case(aten.lift_fresh)],
    "native_dropout": [Case(lambda x: aten.native_dropout(x, 0.5, False))],
    "neg": [Case(aten.neg)],
    "add": [Case(lambda x: aten.add(x, OTHER, alpha=0.5)), Case(lambda x: aten.add(x, OTHER[:, :, :1, :1]))],
    "sub": [Case(lambda x: aten.sub(x, OTHER, alpha=0.5)), Case(lambda x: aten.sub(x, 2.0))],
    "rsub": [Case(lambda x: aten.rsub(x, OTHER))],
    "mul": [Case(lambda x: aten.mul(x, 0.3)), Case(lambda x: aten.mul(x, OTHER[:1, :, :1, :1]))],
    "div": [Case(lambda x: aten.div(x, 0.3)), Case(lambda x: aten.div(x, OTHER))],
    "copy": [Case(lambda x: aten.copy(torch.zeros_like(x), x))],
    **{
        name: [Case(lambda x, name=name: getattr(aten, name)(x, 1.0), silent=True)]
        for name in ["gt", "ge", "lt", "le", "eq", "ne"]
    },
    **{
        name: [Case(lambda x, name=name: getattr(aten, name)(x), silent=name in ("sign", "isnan", "logical_not"))]
        for name in [
            "abs",
            "exp",
            "log",
            "sqrt",
            "rsqrt",
            "square",
            "tanh",
            "sigmoid",
            "sign",
            "reciprocal",
            "log1p",
            "expm1",
            "sin",
            "cos",
            "erf",
            "isnan",
            "logical_not",
            "nan_to_num",
            "relu",
            "relu6",
            "gelu",
            "silu",
            "mish",
            "hardswish",
            "hardsigmoid",
            "elu",
            "selu",
            "celu",
            "softplus",
            "log_sigmoid_forward",
        ]
    },
    "pow": [Case(lambda x: aten.pow(x, 3))],
    **{
        name: [Case(lambda x, name=name: getattr(aten, name)(x, OTHER), silent=True)]
        for name in ["maximum", "fmax", "minimum", "fmin"]
    },
    "where": [Case(lambda x: aten.where(OTHER > 0.7, x, OTHER), silent=True)],
    "masked_fill": [Case(lambda x: aten.masked_fill(x, OTHER < 0.7, 0.0), silent=True)],
    "addcmul": [
        Case(lambda x: aten.addcmul(x, OTHER, OTHER)),
        Case(lambda x, w: aten.addcmul(w * 0.5, x.unsqueeze(-1), w), FLAT, (UNITS, 3), divides=True, separate=True),
    ],
    "addcdiv": [Case(lambda x: aten.addcdiv(x, OTHER, OTHER))],
    "leaky_relu": [Case(lambda x: aten.leaky_relu(x, 0.1))],
    "hardtanh": [Case(lambda x: aten.hardtanh(x, 0, 4))],
    "clamp": [Case(lambda x: aten.clamp(x, 0, 4))],
    "clip": [Case(lambda x: aten.clip(x, 0, 4))],
    "clamp_min": [Case(lambda x: aten.clamp_min(x, 0))],
    "clamp_max": [Case(lambda x: aten.clamp_max(x, 4))],
    "_prelu_kernel": [Case(lambda x: aten._prelu_kernel(x, torch.full((1, UNITS, 1, 1), 0.2, dtype=x.dtype)))],
    "rrelu_with_noise": [Case(lambda x: aten.rrelu_with_noise(x, torch.zeros_like(x), 0.1, 0.3, False))],
    "threshold": [Case(lambda x: aten.threshold(x, 0.1, 5.0))],
    "avg_pool1d": [Case(lambda x: aten.avg_pool1d(x, [2]), ROW)],
    "avg_pool2d": [Case(lambda x: aten.avg_pool2d(x, [2, 2]))],
    "_adaptive_avg_pool2d": [Case(lambda x: aten._adaptive_avg_pool2d(x, [2, 1]))],
    "avg_pool3d": [Case(lambda x: aten.avg_pool3d(x, [2, 2, 2]), CUBE)],
    "_adaptive_avg_pool3d": [Case(lambda x: aten._adaptive_avg_pool3d(x, [2, 1, 2]), CUBE)],
    "max_pool2d_with_indices": [Case(lambda x: aten.max_pool2d_with_indices(x, [2, 2]))],
    "max_pool3d_with_indices": [Case(lambda x: aten.max_pool3d_with_indices(x, [2, 2, 2]), CUBE)],
    "adaptive_max_pool2d": [Case(lambda x: aten.adaptive_max_pool2d(x, [2, 2]))],
    "adaptive_max_pool3d": [Case(lambda x: aten.adaptive_max_pool3d(x, [2, 1, 2]), CUBE)],
    "upsample_nearest1d": [Case(lambda x: aten.upsample_nearest1d(x, [8]), ROW)],
    "upsample_nearest2d": [Case(lambda x: aten.upsample_nearest2d(x, [8, 6]))],
    "upsample_nearest3d": [Case(lambda x: aten.upsample_nearest3d(x, [4, 4, 8]), CUBE)],
    "upsample_linear1d": [Case(lambda x: aten.upsample_linear1d(x, [7], False), ROW)],
    "upsample_bilinear2d": [Case(lambda x: aten.upsample_bilinear2d(x, [7, 6], False))],
    "upsample_bicubic2d": [Case(lambda x: aten.upsample_bicubic2d(x, [7, 6], False))],
    "upsample_trilinear3d": [Case(lambda x: aten.upsample_trilinear3d(x, [3, 3, 5], False), CUBE)],
    **{
        name: [
            Case(lambda x, name=name: getattr(aten, name)(x, [2, 3])),
            Case(lambda x, name=name: getattr(aten, name)(x, [-1], True)),
        ]
        for name in ("mean", "sum", "amax", "amin")
    },
    "max": [Case(lambda x: aten.max(x, 2))],
    "min": [Case(lambda x: aten.min(x, 2, True))],
    "var": [Case(lambda x: aten.var(x, [1], correction=1))],
    "std": [Case(lambda x: aten.std(x, [1], correction=1))],
    "norm": [Case(lambda x: aten.norm(x, 2, [1]))],
    "linalg_vector_norm": [Case(lambda x: aten.linalg_vector_norm(x, 2, [1]))],
    "logsumexp": [Case(lambda x: aten.logsumexp(x, [1]))],
    **{
        name: [Case(lambda x, name=name: getattr(aten, name)(x, 1), silent=True)]
        for name in ["argmax", "argmin", "any", "all"]
    },
    "prod": [Case(lambda x: aten.prod(x, 1))],
    "var_mean": [Case(lambda x: aten.var_mean(x, [1], correction=1))],
    **{
        "_fft_r2c": [Case(lambda x, d=d: aten._fft_r2c(x, [d], 0, True).abs(), separate=d != 1) for d in (1, 3)],
        "_fft_c2c": [Case(lambda x: aten._fft_c2c(x.to(torch.complex128), [1], 0, True).abs())],
        "_fft_c2r": [Case(lambda x: aten._fft_c2r(x.to(torch.complex128), [3], 0, 6), separate=True)],
    },
    "_softmax": [Case(lambda x: aten._softmax(x, 1, False))],
    "_log_softmax": [Case(lambda x: aten._log_softmax(x, 1, False))],
    "cumsum": [Case(lambda x: aten.cumsum(x, 1))],
    "cumprod": [Case(lambda x: aten.cumprod(x, 1))],
    "native_batch_norm": [_norm("native_batch_norm")],
    "_native_batch_norm_legit_no_training": [_norm("_native_batch_norm_legit_no_training")],
    "_native_batch_norm_legit": [_norm("_native_batch_norm_legit")],
    "_batch_norm_no_update": [_norm("_batch_norm_no_update")],
    "native_layer_norm": [Case(lambda x: aten.native_layer_norm(x, [UNITS, 4, 4], None, None, 0.0))],
    "native_group_norm": [Case(lambda x: aten.native_group_norm(x, None, None, SAMPLES, UNITS, 16, 2, 0.0))],
    "_fused_rms_norm": [Case(lambda x: aten._fused_rms_norm(x, [UNITS, 4, 4], None, 1e-12))],
    **{name: [Case(lambda x, name=name: getattr(aten, name)(x), silent=True)] for name in ("zeros_like", "ones_like")},
    "full_like": [Case(lambda x: aten.full_like(x, 2.0), silent=True)],
    "new_zeros": [Case(lambda x: aten.new_zeros(x, [SAMPLES, UNITS]), silent=True)],
    "new_ones": [Case(lambda x: aten.new_ones(x, [3]), silent=True)],
    "new_full": [Case(lambda x: aten.new_full(x, [SAMPLES, UNITS], 2.0), silent=True)],
    "mm": [Case(aten.mm, FLAT, (UNITS, 5))],
    "bmm": [Case(lambda x, w: aten.bmm(x.expand(3, SAMPLES, UNITS), w), FLAT, (3, UNITS, 5))],
    "addmm": [Case(lambda x, w: aten.addmm(torch.ones(5, dtype=x.dtype), x, w), FLAT, (UNITS, 5))],
    "baddbmm": [
        Case(lambda x, w: aten.baddbmm(x.new_zeros(1, 1, 5), x.expand(3, SAMPLES, UNITS), w), FLAT, (3, UNITS, 5))
    ],
    "mv": [Case(aten.mv, FLAT, (UNITS,))],
    "addmv": [Case(lambda x, w: aten.addmv(torch.ones(1, dtype=x.dtype), x, w), FLAT, (UNITS,))],
    "linear": [Case(aten.linear, FLAT, (5, UNITS))],
    "convolution": [
        Case(
            lambda x, w: aten.convolution(x, w, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1), weight=(5, UNITS, 3, 3)
        ),
        Case(lambda x, w: aten.convolution(x, w, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 2), weight=(6, 4, 3, 3)),
        Case(
            lambda x, w: aten.convolution(x, w, None, [2, 2], [0, 0], [1, 1], True, [0, 0], 1), weight=(UNITS, 5, 3, 3)
        ),
        Case(
            lambda x, w: aten.convolution(x, w, None, [2, 2], [0, 0], [1, 1], True, [0, 0], 2), weight=(UNITS, 3, 3, 3)
        ),
    ],
    "addbmm": [Case(lambda x, w: aten.addbmm(x.new_zeros(5), x.expand(3, SAMPLES, UNITS), w), FLAT, (3, UNITS, 5))],
    "_grouped_mm": [
        Case(
            lambda x, w: aten._grouped_mm(x.bfloat16(), w.bfloat16(), torch.tensor([2, 3, SAMPLES], dtype=torch.int32)),
            FLAT,
            (3, UNITS, 16),
            ordered=True,
        )
    ],
    "embedding": [Case(lambda x, w: aten.embedding(w, x), (SAMPLES, 4), (UNITS, 5), indices=True)],
    **{
        name: [
            Case(
                lambda x, w, name=name: getattr(aten, name)(w, x.reshape(-1), torch.arange(0, SAMPLES * 4, 4)),
                (SAMPLES, 4),
                (UNITS, 5),
                indices=True,
            )
        ]
        for name in ("_embedding_bag", "_embedding_bag_forward_only")
    },
    "_scaled_dot_product_flash_attention_for_cpu": [
        Case(lambda x: aten._scaled_dot_product_flash_attention_for_cpu(x, x + 0.0, x * 1.0), separate=True)
    ],
}

CREATING = {
    *("empty_like", "new_empty", "new_empty_strided", "zeros", "ones", "full", "empty", "empty_strided"),
    *("scalar_tensor", "arange", "linspace", "eye", "rand_like", "randn_like", "randint_like", "rand", "randn"),
    *("randint", "randperm", "random", "exponential", "geometric", "cauchy", "log_normal"),
}

TWINS = {
    **dict.fromkeys(("reshape", "flatten", "unflatten"), "view"),
    **dict.fromkeys(("narrow", "chunk", "unsafe_chunk"), "slice"),
    **dict.fromkeys(("contiguous", "dropout"), "clone"),
    **dict.fromkeys(("cudnn_batch_norm", "miopen_batch_norm", "_batch_norm_with_update"), "native_batch_norm"),
    **dict.fromkeys(["_convolution", "mkldnn_convolution", "cudnn_convolution", "miopen_convolution"], "convolution"),
    **dict.fromkeys(["conv1d", "conv2d", "conv3d", "convolution_overrideable"], "convolution"),
    **{
        f"_scaled_dot_product_{name}": "_scaled_dot_product_flash_attention_for_cpu"
        for name in ["flash_attention", "efficient_attention", "cudnn_attention", "fused_attention_overrideable"]
    },
    "scaled_dot_product_attention": "_scaled_dot_product_flash_attention_for_cpu",
    **dict.fromkeys(("adaptive_avg_pool2d", "mkldnn_adaptive_avg_pool2d"), "_adaptive_avg_pool2d"),
    **dict.fromkeys(("max_pool2d", "mkldnn_max_pool2d"), "max_pool2d_with_indices"),
    **dict.fromkeys(("_adaptive_avg_pool1d", "adaptive_avg_pool1d"), "avg_pool1d"),
    **dict.fromkeys(("mkldnn_linear", "_mkl_linear"), "linear"),
    "_nested_tensor_from_tensor_list": "_pack_padded_sequence",
    "swapaxes": "transpose",
    "numpy_T": "t",
    "prelu": "_prelu_kernel",
    "rrelu": "rrelu_with_noise",
    "adaptive_avg_pool3d": "_adaptive_avg_pool3d",
    "max_pool3d": "max_pool3d_with_indices",
    "softmax": "_softmax",
    "log_softmax": "_log_softmax",
    "rms_norm": "_fused_rms_norm",
    "matmul": "bmm",
    "mkldnn_rnn_layer": "linear",
    **dict.fromkeys(sorted(CREATING), "zeros_like"),
}
"""Rows that do not run here (torch takes them apart, or they need another device): whose claims they must make."""
