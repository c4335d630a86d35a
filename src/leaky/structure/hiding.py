"""Operators that may hide an activation: fused, quantised and custom ones, which are listed."""

from __future__ import annotations

from leaky.structure.graph import Call, Node

_TRANSPARENT = {"aten", "prims", "prim", "profiler", "c10d", "torchvision"}
"""Namespaces whose operators hide no activation, but for the fused ones."""

_ACTIVE = ("relu", "elu", "swish", "sigmoid", "tanh", "lstm", "gru", "rnn", "softmax", "leaky", "hard")
"""What the names of quantised operators with an activation inside have in them."""


def hides(namespace: str, name: str) -> bool:
    """Whether an operator may hide an activation."""
    if namespace == "quantized":
        return any(word in name for word in _ACTIVE)
    return namespace not in _TRANSPARENT or name in FUSED


FUSED = {
    "_transformer_encoder_layer_fwd": (
        "torch's fused path ran, which nested tensors ask for; padded ones with a src_key_padding_mask open it"
    ),
    "_addmm_activation": "a fused operator hides its activation",
}


def rounds(call: Call) -> bool:
    """Whether an operation rounds and clips data as a quantised network will."""
    value = call.args[0] if call.args else None
    names = any(word in call.name for word in ("fake_quant", "obs_fq"))
    return names and isinstance(value, Node) and value.from_data


ROUNDS = "fake quantisation rounds here and clips to a range; what that cuts off, as a rectifier does, is not judged"


def opaque(operator: str, path: str) -> tuple[str, str]:
    """The place and the reason to report for an operator that may hide an activation."""
    reason = FUSED.get(operator.partition("::")[2], f"the custom operator {operator} hides what happens inside it")
    return path or "(model)", reason
