"""Maps each tensor of a forward pass to its node: a computed value, a weight, a constant, or a value of unknown origin.

A tensor is known by a weak reference, never held. What shares memory is known too: a value written into a part of a
buffer is in the buffer. A tensor that nobody made in torch and that the model does not hold has lost its origin: it
may be the data after a way through numpy, a list or another thread, and what rectifies behind it must not vanish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from leaky.structure.axes import Axes, Factor, factor, has, plain, renewed, replaced
from leaky.structure.graph import UNNAMED, Call, Node
from leaky.structure.memory import overlap, place_of
from leaky.structure.modules import without_wrappers
from leaky.structure.operators import operator_named


class Values:
    """The tensors of one pass.

    Args:
        model: whose parameters, buffers and other tensors are constants.
        number: hands out the numbers of nodes.
    """

    def __init__(self, model: nn.Module, number: Callable[[], int]) -> None:
        self._number, self._model = number, model
        self._learned = {id(p) for p in model.parameters()}
        named = [*model.named_parameters(), *model.named_buffers()]
        self._owned = {id(tensor): (without_wrappers(name), tensor) for name, tensor in named}
        self._held = {id(tensor): tensor for tensor in _attributes(model)}
        self._nodes: Any = WeakTensorKeyDictionary()
        self._sharing: dict[int, Any] = {}
        self._anonymous = 0
        self._samples: tuple[int, Factor] | None = None
        self.leaked = self._of_nothing = False

    def clear(self) -> None:
        """Forget the pass."""
        self._nodes.clear()
        self._sharing.clear()
        self._anonymous = 0
        self._samples = None
        self.leaked = self._of_nothing = False

    def get(self, tensor: Tensor) -> Node | None:
        """The node of a tensor, or None."""
        node = self._nodes.get(tensor)
        return node if isinstance(node, Node) else None

    def put(self, tensor: Tensor, node: Node) -> None:
        """Register the node of a tensor."""
        self._nodes[tensor] = node

    def expect_samples(self, node: Node) -> None:
        """An input whose sample axis tells that of values whose origin is lost."""
        for dim, axis in enumerate(node.axes):
            if self._samples is None and len(axis) == 1 and axis[0].role == "sample" and axis[0].size > 1:
                self._samples = (dim, axis[0])

    def expect_rows(self, samples: int, leaked: bool = False) -> None:
        """No input has an axis of samples: what is made of them, or as texts of nothing (`leaked`), has a row each."""
        self.leaked = self._of_nothing = leaked
        self._samples = (0, factor(samples, "sample"))

    def node(self, tensor: Tensor) -> Node:
        """The node of an argument; one that was not made in the pass is a constant, or has lost its origin."""
        node = self._nodes.get(tensor)
        if node is None:
            node = self._constant(tensor)
            self._nodes[tensor] = node
        elif not node.lost and not node.from_data and _is_another(node, tensor):
            node = self._nodes[tensor] = self._with_samples(replace(node, lost=True))
        return node  # type: ignore[no-any-return]

    def told(self, node: Node, sample: int | None, call: Call) -> Node:
        """A result with its one sample, if any; what holds numbers after numbers of the data went out is lost."""
        lost = node.lost or (self.leaked and not node.from_data and not node.learned and _holds_numbers(call))
        return self._with_samples(replace(node, sample=sample, lost=lost))

    def _with_samples(self, node: Node) -> Node:
        """A value of lost origin with the axis of its samples, where its length tells it."""
        known = node.from_data and not self._of_nothing
        if not node.lost or known or any(has(axis, "sample") for axis in node.axes):
            return node
        return replace(node, axes=self._sampled(node.shape, node.axes))

    def _constant(self, tensor: Tensor) -> Node:
        shape = shape_of(tensor)
        learned = id(tensor) in self._learned or isinstance(tensor, nn.Parameter)
        lost = False
        axes = plain(shape)
        if learned and len(shape) > 2:
            axes = replaced(axes, 0, (factor(shape[0], "member"),))
        name = self._owned[id(tensor)][0] if id(tensor) in self._owned else self._name_now(tensor)
        if not name:
            same = self._alias(tensor)
            if same is not None:
                return same
            self._anonymous += 1
            name = f"{UNNAMED} {self._anonymous})"
            lost = not learned and id(tensor) not in self._held
            axes = self._sampled(shape, axes) if lost else axes
        return Node(
            self._number(), "weight", "", shape, axes, from_data=False, weights=(name,), learned=learned, lost=lost
        )

    def _name_now(self, tensor: Tensor) -> str:
        """The name of a parameter that replaces another while the model runs, as in FSDP2; "" if it is none."""
        if not isinstance(tensor, nn.Parameter):
            return ""
        return next((without_wrappers(name) for name, p in self._model.named_parameters() if p is tensor), "")

    def _sampled(self, shape: tuple[int, ...], axes: Axes) -> Axes:
        """As many entries along the axis of the samples as there are samples: taken for them."""
        if self._samples is None or len(shape) < 2:
            return axes
        dim, sample = self._samples
        fits = dim < len(shape) and shape[dim] == sample.size and not has(axes[dim], "unit")
        return replaced(axes, dim, (sample,)) if fits else axes

    def _alias(self, tensor: Tensor) -> Node | None:
        """A value of the pass whose memory this is, element for element: `.data`, numpy and back without a copy."""
        place = place_of(tensor)
        if place is None:
            return None
        for known, node in list(self._nodes.items()):
            if node.from_data and known.dtype == tensor.dtype and place_of(known) == place:
                return node  # type: ignore[no-any-return]
        return None

    def share(self, function: Any, args: Sequence[Any], results: Sequence[Tensor], nodes: Sequence[Node]) -> list[Node]:
        """Note what an operation's results share memory with; the new nodes of what it wrote into by way of a part."""
        base = args[0] if args else None
        returns = function._schema.returns
        alias = returns[0].alias_info if returns else None
        if alias is None or not isinstance(base, Tensor) or id(base) in self._owned:
            return []
        if base.layout != torch.strided or base.is_nested:
            return []
        if alias.is_write:
            return self._written(base, nodes[0])
        for result in results:
            self._shares(base, result)
        return []

    def _shares(self, base: Tensor, view: Tensor) -> None:
        key = base.untyped_storage()._cdata
        group = self._sharing.get(key)
        if group is None:
            group = self._sharing[key] = WeakTensorKeyDictionary()
        group[base] = group[view] = True

    def _written(self, tensor: Tensor, node: Node) -> list[Node]:
        """A tensor now holds `node`, and whatever shares its memory holds it too."""
        group = self._sharing.get(tensor.untyped_storage()._cdata) if self._sharing else None
        made: list[Node] = []
        for other in list(group.keys()) if group is not None else ():
            before = self.get(other)
            if other is tensor or before is None or not overlap(tensor, other):
                continue
            received = _received(before, other, node, tensor, self._number())
            self._nodes[other] = self._with_samples(self._by_rows(received, node, other, tensor))
            made.append(self._nodes[other])
        return made

    def _by_rows(self, received: Node, node: Node, holder: Tensor, part: Tensor) -> Node:
        """A sample that was written to its own row: the axis of the rows is that of the samples."""
        if node.sample is None or self._samples is None or holder.ndim != part.ndim + 1:
            return received
        sample = self._samples[1]
        rows = [
            d for d, size in enumerate(holder.shape) if size == sample.size and holder.stride(d) not in part.stride()
        ]
        if len(rows) != 1 or any(has(axis, "sample") for axis in received.axes):
            return received
        return replace(received, axes=replaced(received.axes, rows[0], (sample,)), sample=None)


def _is_another(node: Node, tensor: Tensor) -> bool:
    """Whether a constant's values have changed without torch noticing, for example by NumPy."""
    fill = operator_named(node.operation).fill
    if fill is None or not tensor.is_floating_point():
        return False
    return tensor.device.type == "cpu" and tensor.layout == torch.strided and bool((tensor != fill).any())


def _holds_numbers(call: Call) -> bool:
    """Whether a result may depend on Python numbers that it was filled with or computed from."""
    numbers = operator_named(call.name).numbers
    if numbers == "creates":
        return any(name in call.names for name in ("fill_value", "s"))  # zeros are zeros, whoever asks for them
    if not call.nodes or call.name == "fill":
        return True
    return numbers in ("joins", "scales") and any(isinstance(value, (int, float)) for value in call.args[1:])


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """The shape of a tensor; of a nested one, the shape that it has when padded."""
    if not tensor.is_nested:
        return tuple(tensor.shape)
    if tensor.layout == torch.jagged:
        longest = int(lengths_of(tensor).max()) if len(lengths_of(tensor)) else 0
        return tuple(longest if not isinstance(size, int) else size for size in tensor.shape)
    sizes = tensor._nested_tensor_size()
    return (len(sizes), *(int(size) for size in sizes.amax(0)))


def lengths_of(tensor: Tensor) -> Tensor:
    """How many entries each sample of a nested tensor has along its first axis."""
    if tensor.layout == torch.jagged:
        return tensor.offsets().diff()  # type: ignore[attr-defined,no-any-return]
    return tensor._nested_tensor_size()[:, 0]


def _attributes(model: nn.Module) -> Iterator[Tensor]:
    """Tensors that modules hold as plain attributes, in lists and dicts too."""
    for module in model.modules():
        for value in list(vars(module).values()):
            items = (
                value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
            )
            yield from (item for item in items if isinstance(item, Tensor) and not isinstance(item, nn.Parameter))


def _received(before: Node, holder: Tensor, node: Node, part: Tensor, number: int) -> Node:
    """The node of a tensor into a part of which another value was written."""
    return replace(
        before,
        index=number,
        operation=node.operation,
        axes=laid_over(before.axes, holder.shape, holder.stride(), node.axes, part.shape, part.stride()),
        inputs=(before.index, node.index),
        from_data=before.from_data or node.from_data,
        weights=() if node.from_data else before.weights,
        learned=before.learned or node.learned,
        productions=tuple(dict.fromkeys((*before.productions, *node.productions))),
        modifiers=before.modifiers | node.modifiers,
        affine=None,
        gate=None,
        shaped=before.shaped or node.shaped,
        site=node.site if holder.shape == part.shape else before.site or node.site,
        lost=before.lost or node.lost,
        sample=before.sample,
    )


def laid_over(
    axes: Axes,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    part_axes: Axes,
    part_shape: tuple[int, ...],
    part_strides: tuple[int, ...],
) -> Axes:
    """The axes of a buffer after a value with `part_axes` was written into a part of its memory.

    Which axis of the part lies along which of the buffer is told by the strides.
    """
    result = axes
    for dim, (axis, length, stride) in enumerate(zip(part_axes, part_shape, part_strides, strict=True)):
        if dim >= len(part_axes) or not (has(axis, "sample") or has(axis, "unit")):
            continue
        along = [
            d
            for d, (size, step) in enumerate(zip(shape, strides, strict=True))
            if size >= length and step <= stride < step * max(size, 2)
        ]
        if not along:
            continue
        target = max(along, key=lambda d: strides[d])
        known = has(result[target], "sample") or has(result[target], "unit")
        if not known:
            new = axis if shape[target] == length else renewed(axis, shape[target], ("sample", "unit"))
            result = replaced(result, target, new)
    return result
