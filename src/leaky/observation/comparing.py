"""Where a loss compares the network's output with the batch's targets: seen while the user's own loss runs.

Each tensor of the output and of the batch is followed through the torch functions of the loss. Where something that
came from the output alone meets something that came from the batch alone, in an operation that compares, both are
reduced on the spot. Nothing is computed otherwise than the loss computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from leaky.observation.ends import maker, tensor_statistics
from leaky.observation.nesting import tensors_in
from leaky.record import WEIGHTED, LossTerm, TensorStatistics

ELEMENTWISE = (
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "kl_div", "poisson_nll_loss", "sub",
)  # fmt: skip
"""Comparisons entry by entry."""
BY_CLASS = ("cross_entropy", "nll_loss", "gather", "multi_margin_loss")
"""Comparisons with the index of a class."""
_SAME = {"__sub__": "sub", "__rsub__": "sub", "rsub": "sub", "subtract": "sub", "__mul__": "mul", "__rmul__": "mul",
         "multiply": "mul", "mul_": "mul", "__truediv__": "div", "__getitem__": "gather", "take_along_dim": "gather",
         "sub_": "sub"}  # fmt: skip
_VIEWS = frozenset(
    ("view", "reshape", "flatten", "squeeze", "unsqueeze", "__getitem__", "permute", "transpose", "t", "__get__", "to",
     "float", "double", "half", "long", "type", "contiguous", "clone", "detach", "expand", "unflatten", "expand_as",
     "masked_select", "index_select")
)  # fmt: skip
"""Operations that leave the values as they are: no step of a path."""
_ROWS = ("masked_select", "index_select")
"""Operations that pick some of the values."""
_LOGARITHMS = ("log", "log_softmax", "logsigmoid", "log1p", "xlogy")
MOST_CLASSES = 4096


@dataclass(frozen=True)
class TensorOrigin:
    """Where a tensor of the loss came from.

    Attributes:
        outputs, given: names of the outputs and of the batch's tensors that it depends on.
        path: operations since.
    """

    outputs: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()
    path: tuple[str, ...] = ()


class Comparing(TorchFunctionMode):
    """While open, comparisons of outputs with tensors of the batch are noted in `terms`.

    Args:
        outputs: of the model, by name.
        batch: as the data gave it.
        samples: in the batch.
        sample_dim: axis of the samples.
    """

    def __init__(self, outputs: dict[str, Tensor], batch: Any, samples: int, sample_dim: int | None) -> None:
        super().__init__()
        self.terms: list[LossTerm] = []
        self._samples, self._sample_dim = samples, sample_dim
        self._held: dict[int, tuple[Tensor, TensorOrigin]] = {}  # the tensors are held, so that no id is used twice
        for name, tensor in _given(batch).items():
            self._hold(tensor, TensorOrigin(given=frozenset((name,))))
        for name, tensor in outputs.items():
            self._hold(tensor, TensorOrigin(outputs=frozenset((name,))))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        known = [
            (tensor, self._held[id(tensor)][1]) for tensor in tensors_in((args, kwargs)) if id(tensor) in self._held
        ]
        if known:
            name = getattr(func, "__name__", "")
            if _picks_rows(name, args) and id(args[0]) in self._held:
                known = [self._held[id(args[0])]]
            else:
                self._compared(_SAME.get(name, name), known)
                self._weighted(_SAME.get(name, name), known)
            self._derived(name, known, result)
        return result

    def _hold(self, tensor: Tensor, origin: TensorOrigin) -> None:
        self._held[id(tensor)] = (tensor, origin)

    def _derived(self, name: str, known: list[tuple[Tensor, TensorOrigin]], result: Any) -> None:
        paths = [origin.path for _, origin in known]
        step = self._step(name.strip("_"), result) if name not in _VIEWS and name.strip("_") not in _VIEWS else ()
        origin = TensorOrigin(
            outputs=frozenset().union(*(o.outputs for _, o in known)),
            given=frozenset().union(*(o.given for _, o in known)),
            path=(max(paths, key=len) + step)[-8:],
        )
        for tensor in tensors_in(result):
            if id(tensor) not in self._held:
                self._hold(tensor, origin)

    def _step(self, name: str, result: Any) -> tuple[str, ...]:
        """The operation as a step of a path; a softmax by what it runs over."""
        made_by, _ = maker(result, self._samples, self._sample_dim) if "softmax" in name else (None, None)
        return (made_by or name,)

    def _compared(self, operation: str, known: list[tuple[Tensor, TensorOrigin]]) -> None:
        mine = [(tensor, o) for tensor, o in known if o.outputs and not o.given]
        theirs = [(tensor, o) for tensor, o in known if o.given and not o.outputs]
        if len(mine) != 1 or not theirs or len(mine[0][1].outputs) != 1:
            return
        (output, origin), (target, source) = mine[0], theirs[0]
        spelled_out = operation == "mul" and any(step in _LOGARITHMS for step in origin.path)
        picked = operation == "gather" and not target.is_floating_point()
        if operation in ELEMENTWISE or spelled_out or (operation in BY_CLASS and (operation != "gather" or picked)):
            self._note(operation, output, origin, target, min(source.given))

    def _weighted(self, operation: str, known: list[tuple[Tensor, TensorOrigin]]) -> None:
        """Losses of single samples that broadcast against the batch's weights of them, as (n, 1) does against (n)."""
        mine = [(tensor, o) for tensor, o in known if len(o.outputs) == 1 and o.given]
        theirs = [(tensor, o) for tensor, o in known if o.given and not o.outputs]
        if operation in ("mul", "div", "true_divide") and len(mine) == 1 == len(theirs):
            (loss, origin), (weight, source) = mine[0], theirs[0]
            if loss.shape != weight.shape and loss.numel() == weight.numel() > 1 and loss.ndim != weight.ndim:
                self._note(WEIGHTED, loss, origin, weight, min(source.given))

    def _note(self, operation: str, output: Tensor, origin: TensorOrigin, target: Tensor, name: str) -> None:
        (output_name,) = origin.outputs
        rows = self._rows(output, target)
        given, wanted = (
            tensor_statistics(known, tensor, rows, self._sample_dim)
            for known, tensor in ((output_name, output), (name, target))
        )
        if given is None or wanted is None:
            return
        hits: int | None = None
        classes: tuple[int, ...] = ()
        if operation in BY_CLASS:
            hits, classes = _class_hits(output.detach(), target.detach())
        elif wanted.whole and wanted.minimum >= 0 and wanted.maximum <= 1 and output.shape == target.shape:
            hits, classes = _binary_hits(output.detach(), target.detach(), operation, given)
        self.terms.append(
            LossTerm(
                operation=operation,
                output=output_name,
                path=origin.path,
                given=given,
                target=wanted,
                residual_squares=_residual(operation, output.detach(), target.detach()),
                hits=hits,
                compared=sum(classes),
                classes=classes,
            )
        )

    def _rows(self, output: Tensor, target: Tensor) -> int:
        """How many samples meet: all of the batch, or those that the loss has picked."""
        lengths = {tensor.shape[0] if tensor.ndim else 0 for tensor in (output, target)}
        picked = len(lengths) == 1 and 0 not in lengths and self._samples not in (*output.shape, *target.shape)
        return lengths.pop() if picked else self._samples


def _picks_rows(name: str, args: Any) -> bool:
    """Whether an operation only picks entries by a mask or by numbers along the first axis, as a loss leaves some out.

    One that names an entry of each row, `log[torch.arange(n), target]`, compares instead.
    """
    if name != "__getitem__" or len(args) < 2:
        return name in _ROWS
    parts = args[1] if isinstance(args[1], tuple) else (args[1],)
    chosen = [part for part in parts if isinstance(part, Tensor)]
    masked = all(part.dtype == torch.bool for part in chosen)
    return bool(chosen) and (masked or (len(chosen) == 1 and parts[0] is chosen[0] and args[0].ndim > 1))


def _given(batch: Any) -> dict[str, Tensor]:
    """The batch's tensors by the place that they have in it."""
    if isinstance(batch, dict):
        return {str(key): tensor for key, value in batch.items() for tensor in tensors_in(value)[:1]}
    if isinstance(batch, (tuple, list)):
        return {f"batch[{i}]": tensor for i, value in enumerate(batch) for tensor in tensors_in(value)[:1]}
    return {"batch": batch} if isinstance(batch, Tensor) else {}


def _residual(operation: str, output: Tensor, target: Tensor) -> float | None:
    if operation not in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "sub") or output.shape != target.shape:
        return None
    if not output.is_floating_point():
        return None
    residual = torch.where(torch.isfinite(target), output.double() - target.double(), 0.0)
    return float(residual.square().sum())


def _class_hits(output: Tensor, target: Tensor) -> tuple[int | None, tuple[int, ...]]:
    """How often the largest entry along the classes' axis is the target's."""
    if target.is_floating_point() or output.ndim < 1 or output.shape[-1 if output.ndim == 1 else 1] < 2:
        return None, ()
    chosen = output.argmax(dim=0 if output.ndim == 1 else 1)
    if chosen.shape != target.shape:
        if chosen.numel() != target.numel():
            return None, ()
        target = target.reshape(chosen.shape)
    kept = target >= 0  # −100 and its like are what the loss leaves out
    if not bool(kept.any()) or int(target.max()) >= MOST_CLASSES:
        return None, ()
    classes = torch.bincount(target[kept].reshape(-1)).tolist()
    return int((chosen == target)[kept].sum()), tuple(classes)


def _binary_hits(
    output: Tensor, target: Tensor, operation: str, given: TensorStatistics
) -> tuple[int | None, tuple[int, ...]]:
    """How often the output is on its target's side: of 0 for a logit, of ½ for a probability."""
    if operation == "binary_cross_entropy_with_logits":
        says = output > 0
    elif operation == "binary_cross_entropy" and given.minimum >= 0 and given.maximum <= 1:
        says = output > 0.5
    else:
        return None, ()
    wanted = target > 0.5
    ones = int(wanted.sum())
    return int((says == wanted).sum()), (wanted.numel() - ones, ones)
