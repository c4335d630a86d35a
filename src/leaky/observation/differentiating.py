"""Whether the user's own code differentiates the network again and again, and what comes of it.

Seen while it runs, through torch's functions; nothing is computed otherwise than it computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from leaky.observation.nesting import tensors_in
from leaky.record.derivatives import Derivatives


class Differentiating(TorchFunctionMode):
    """While open, the order of every derivative that is taken is noted in `found`.

    `torch.autograd.grad` of what has order k gives what has order k + 1; other functions keep the highest order of
    what they are given. Of `torch.func`'s transforms (`hessian`, `jvp` of `grad` …) as many are open at once as the
    order is, and what the last of them gives is the derivative of that order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: Derivatives | None = None
        self._open, self._behind = 0, False
        self._last: list[Tensor] | None = None
        self._orders: dict[int, tuple[Tensor, int]] = {}  # the tensors are held, so that no id is used twice

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        levels = _transforms()
        if levels:
            return self._transformed(levels, func, args, kwargs)
        self._behind = self._open > 0
        if func is torch.autograd.grad:
            return self._differentiate(func, args, kwargs)
        result = func(*args, **kwargs)
        if self._orders and (order := self._order((args, kwargs))):
            self._hold(result, order)
        return result

    def __exit__(self, *raised: Any) -> None:
        self._close()
        super().__exit__(*raised)  # type: ignore[no-untyped-call]

    def _transformed(self, levels: int, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """What runs while `torch.func` differentiates."""
        if self._behind:
            self._close()
        self._open = max(self._open, levels)
        result = func(*args, **kwargs)
        derived = tensors_in(result)
        if func is torch.autograd.grad and derived:
            self._last = derived[:1]
        elif getattr(func, "__name__", "") == "_unpack_dual":
            self._last = derived[1:2]  # none where it depends on nothing
        return result

    def _close(self) -> None:
        """Note what `torch.func` has taken, once it is done."""
        if self._open > 1 and self._last is not None:
            self._note(Derivatives(self._open, zero=not any(_has_numbers(_plain(t)) for t in self._last)))
        self._open, self._behind, self._last = 0, False, None

    def _differentiate(self, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        order = 1 + self._order(args[0] if args else kwargs.get("outputs"))
        try:
            result = func(*args, **kwargs)
        except RuntimeError:
            # A derivative that depends on nothing any more is 0, which torch refuses to differentiate.
            if order > 1:
                self._note(Derivatives(order, zero=True))
            raise
        found = tensors_in(result)
        if self._open and found and torch._C._functorch.is_functorch_wrapped_tensor(found[0]):
            self._last = found[:1]  # the way back of a reverse transform, behind its level
            return result
        self._note(Derivatives(order, zero=not any(_has_numbers(tensor) for tensor in found)))
        self._hold(result, order)
        return result

    def _order(self, value: Any) -> int:
        return max((self._orders[id(t)][1] for t in tensors_in(value) if id(t) in self._orders), default=0)

    def _hold(self, value: Any, order: int) -> None:
        for tensor in tensors_in(value):
            self._orders[id(tensor)] = (tensor, order)

    def _note(self, now: Derivatives) -> None:
        self.found = now if self.found is None else self.found.merge(now)


def _has_numbers(tensor: Tensor) -> bool:
    """Whether an entry is not 0, or that cannot be asked: inside `torch.func.vmap` a tensor has no value of its own."""
    try:
        return bool(tensor.detach().any())
    except RuntimeError:
        return True


def _transforms() -> int:
    """How many transforms of `torch.func` that differentiate are open."""
    stack = torch._C._functorch.get_interpreter_stack() or ()
    kinds = (torch._C._functorch.TransformType.Grad, torch._C._functorch.TransformType.Jvp)
    return sum(level.key() in kinds for level in stack)


def _plain(tensor: Tensor) -> Tensor:
    """What a tensor inside transforms holds."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor
