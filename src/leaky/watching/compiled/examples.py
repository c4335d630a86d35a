"""What a variable of Dynamo's stands for, so that a pass aside can be run while a graph is made."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._dynamo.variables import TensorVariable


def example(variable: Any) -> Any:
    """What a variable of Dynamo's stands for: the value itself where it goes into the graph, or one of its shape."""
    if hasattr(variable, "realize"):
        variable = variable.realize()
    if isinstance(variable, TensorVariable):
        return _example_tensor(variable.as_proxy().node)
    kind = variable.python_type()
    if issubclass(kind, (tuple, list)) and hasattr(variable, "items"):
        items = [example(item) for item in variable.items]
        return kind(items) if kind in (tuple, list) else kind(*items)
    if issubclass(kind, dict) and hasattr(variable, "items"):
        items = variable.items
        return {key.vt.as_python_constant(): example(item) for key, item in items.items()}
    try:
        return variable.as_python_constant()
    except Exception:  # a value of the user's own class
        return variable.value


def _example_tensor(node: Any) -> Tensor:
    held = node.meta.get("grapharg")
    if node.op == "placeholder" and held is not None and isinstance(held.example, Tensor):
        real: Tensor = held.example
        return real
    fake = node.meta["example_value"]
    shape = [int(size) if isinstance(size, int) else int(size.node.hint) for size in fake.shape]
    if fake.dtype.is_floating_point:
        generator = torch.Generator(fake.device).manual_seed(0)
        return torch.randn(shape, dtype=fake.dtype, device=fake.device, generator=generator)
    return torch.zeros(shape, dtype=fake.dtype, device=fake.device)
