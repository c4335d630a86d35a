"""Many variants of one model as one stacked model.

The model is followed symbolically; whatever has no stacked form, or depends on data, is refused with its name, and the
variants are then trained one by one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from leaky.activation.torch import LeakyReLU
from leaky.errors import LeakyError
from leaky.tuning.engines.stacked_functions import Slopes
from leaky.tuning.engines.stacked_operations import FUNCTIONS, METHODS, MODULES, rectify, unsupported

_RECTIFIERS = (functional.leaky_relu, functional.relu, torch.relu)


class CannotStackError(LeakyError):
    """A model has a part without a stacked form; the message says which."""


@dataclass(frozen=True)
class StackedNode:
    """One operation of the stacked model.

    Attributes:
        kind: "input", "module", "rectify", "function", "method", "flatten" or "output".
        target: the module's name, the function or the method.
        arguments, keywords: nodes by name, plain values as they are.
        slope: of a rectifier; its own in each variant.
    """

    name: str
    kind: str
    target: Any
    arguments: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...]
    slope: float = 0.0

    @property
    def signature(self) -> tuple[Any, ...]:
        """What must be the same in all variants."""
        return (self.name, self.kind, self.target, repr(self.arguments), repr(self.keywords))


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, LeakyReLU) or super().is_leaf_module(m, module_qualified_name)


def stacked_nodes(model: nn.Module) -> tuple[StackedNode, ...]:
    """The operations of a model, in order.

    Raises:
        CannotStackError: if it cannot be followed, or a part has no stacked form.
    """
    try:
        graph = _Tracer().trace(model)
    except Exception as error:  # whatever the model's code makes of a symbolic value
        raise CannotStackError(f"its forward pass depends on data ({type(error).__name__}: {error})") from error
    modules = dict(model.named_modules(remove_duplicate=False))
    if any(module._forward_hooks or module._forward_pre_hooks for module in modules.values()):
        raise CannotStackError("it has hooks")
    nodes = tuple(_stacked(node, modules) for node in graph.nodes)
    if sum(node.kind == "input" for node in nodes) != 1:
        raise CannotStackError("it takes more than one input")
    return nodes


def _stacked(node: fx.Node, modules: dict[str, nn.Module]) -> StackedNode:
    arguments = tuple(_plain(argument) for argument in node.args)
    keywords = tuple((key, _plain(value)) for key, value in node.kwargs.items())
    if node.op in ("placeholder", "output"):
        kind = "input" if node.op == "placeholder" else "output"
        return StackedNode(node.name, kind, None, arguments if kind == "output" else (), ())
    if node.op == "call_module":
        return _module_node(node, modules[str(node.target)], arguments)
    if node.op == "get_attr":
        raise CannotStackError(f"it uses {node.target!r} outside a layer")
    if node.target in _RECTIFIERS or (node.op == "call_method" and node.target == "relu"):
        slope = 0.0
        if node.target is functional.leaky_relu:
            slope = node.kwargs.get("negative_slope", node.args[1] if len(node.args) > 1 else 0.01)  # type: ignore[assignment]
        return StackedNode(node.name, "rectify", None, arguments[:1], (), float(slope))
    if node.target is torch.flatten or (node.op == "call_method" and node.target == "flatten"):
        if arguments[1:] != (1,) and keywords != (("start_dim", 1),):
            raise CannotStackError("flatten is stacked only from dimension 1 to the last")
        return StackedNode(node.name, "flatten", None, arguments[:1], ())
    if node.op == "call_function" and node.target in FUNCTIONS:
        return StackedNode(node.name, "function", node.target, arguments, keywords)
    if node.op == "call_method" and node.target in METHODS:
        return StackedNode(node.name, "method", node.target, arguments, keywords)
    raise CannotStackError(f"{getattr(node.target, '__name__', node.target)} has no stacked form")


def _module_node(node: fx.Node, module: nn.Module, arguments: tuple[Any, ...]) -> StackedNode:
    if type(module) is nn.ReLU:
        return StackedNode(node.name, "rectify", None, arguments, ())
    if type(module) is nn.LeakyReLU:
        return StackedNode(node.name, "rectify", None, arguments, (), module.negative_slope)
    plain = type(module) is LeakyReLU and module.gain == 1.0 and module.clamp is None
    if plain and isinstance(module.negative_slope, float):
        return StackedNode(node.name, "rectify", None, arguments, (), module.negative_slope)
    reason = unsupported(module)
    if reason:
        raise CannotStackError(reason)
    if len(arguments) != 1 or node.kwargs:
        raise CannotStackError(f"{node.target!r} takes more than one input")
    return StackedNode(node.name, "module", str(node.target), arguments, ())


@dataclass(frozen=True)
class Value:
    """A stacked value among the arguments, by the name of the node that makes it."""

    name: str


def _plain(argument: Any) -> Any:
    if isinstance(argument, fx.Node):
        return Value(argument.name)
    if isinstance(argument, (int, float, str, bool, type(None))):
        return argument
    raise CannotStackError(f"an argument of type {type(argument).__name__} has no stacked form")


class Stack:
    """The variants as one model with stacked parameters.

    Args:
        models: of the same architecture and the same nodes, up to slopes; they get their weights back by `unstack`.
        nodes: of each.
    """

    def __init__(self, models: Sequence[nn.Module], nodes: Sequence[tuple[StackedNode, ...]]) -> None:
        self._models = list(models)
        self._template = copy.deepcopy(models[0])
        self._nodes = nodes[0]
        first = next(models[0].parameters(), None)
        self._slopes = {
            s[0].name: Slopes.of([node.slope for node in s], first)
            for s in zip(*nodes, strict=True)
            if s[0].kind == "rectify"
        }
        self.parameters = {
            name: nn.Parameter(torch.stack([m.get_parameter(name).detach() for m in models]), p.requires_grad)
            for name, p in models[0].named_parameters()
        }
        self.buffers = {
            name: torch.stack([m.get_buffer(name) for m in models]) for name, _ in models[0].named_buffers()
        }
        owned = {**self.parameters, **self.buffers}
        modules = dict(self._template.named_modules(remove_duplicate=False))
        self._modules = {s.target: modules[s.target] for s in self._nodes if s.kind == "module"}
        self._owned = {
            name: {
                local: owned[_same(f"{name}.{local}", module, local, models[0])]
                for local in (*dict(module.named_parameters()), *dict(module.named_buffers()))
            }
            for name, module in (
                (name, dict(models[0].named_modules(remove_duplicate=False))[name]) for name in self._modules
            )
        }

    def train(self, mode: bool) -> None:
        """Put every layer into training or evaluation mode."""
        self._template.train(mode)

    def __call__(self, x: Tensor) -> Tensor:
        """The outputs, shape (variants, samples, …), of inputs of such a shape."""
        values: dict[str, Any] = {}
        for node in self._nodes:
            arguments = [values[a.name] if isinstance(a, Value) else a for a in node.arguments]
            if node.kind == "output":
                return arguments[0]  # type: ignore[no-any-return]
            values[node.name] = x if node.kind == "input" else self._run(node, arguments, values)
        raise AssertionError("a graph ends with its output")

    def _run(self, node: StackedNode, arguments: list[Any], values: dict[str, Any]) -> Any:
        if node.kind == "rectify":
            return rectify(arguments[0], self._slopes[node.name])
        if node.kind == "module":
            module = self._modules[node.target]
            return MODULES[type(module)](module, arguments[0], self._owned[node.target])
        if node.kind == "flatten":
            return arguments[0].flatten(2)
        keywords = {key: values[v.name] if isinstance(v, Value) else v for key, v in node.keywords}
        if node.kind == "method":
            return getattr(arguments[0], node.target)(*arguments[1:], **keywords)
        return node.target(*arguments, **keywords)

    def unstack(self) -> list[nn.Module]:
        """The models, with the weights and statistics that they have now."""
        with torch.no_grad():
            for place, model in enumerate(self._models):
                for name, stacked in self.parameters.items():
                    model.get_parameter(name).copy_(stacked[place])
                for name, buffer in self.buffers.items():
                    model.get_buffer(name).copy_(buffer[place])
        return self._models


def _same(name: str, module: nn.Module, local: str, model: nn.Module) -> str:
    """The name under which `named_parameters` lists a tensor that several modules may share."""
    tensor = getattr(module, local)
    for first, candidate in (*model.named_parameters(), *model.named_buffers()):
        if candidate is tensor:
            return first
    return name
