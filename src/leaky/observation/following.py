"""Traces one forward pass of a model into a list of events, and replays it with some events replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from leaky.arguments import takes
from leaky.errors import InputError
from leaky.interruptions import surely
from leaky.observation.batches import batches_of
from leaky.observation.calling import calling
from leaky.observation.gradients import asks_for_gradients, needs_gradients
from leaky.observation.nesting import tensors_in
from leaky.observation.options import DataArguments
from leaky.observation.preserve import preserved
from leaky.observation.process_state import ProcessState
from leaky.observation.torch_route import uncompiled
from leaky.structure.analysis import Analysis
from leaky.structure.dispatching import DispatchMode
from leaky.structure.history import History
from leaky.structure.listening import SiteCall
from leaky.structure.trace import Tracer

_IMAGE_SIZES = (32, 28, 8, 16, 24, 48, 64, 96, 128, 224, 299)
_SAMPLES = 2


class _Silent:
    """Listens to a tracer for what it could not examine alone."""

    def __init__(self, history: History) -> None:
        self._history = history

    def before(self, call: SiteCall, pre_activation: Tensor) -> Tensor | None:
        """The site computes its output itself."""
        return None

    def after(self, call: SiteCall, output: Tensor) -> None:
        """Nothing to do."""

    def between(self) -> None:
        """Nothing to do."""

    def not_examined(self, name: str, reason: str) -> None:
        """Keep it."""
        self._history.not_examined.append((name, reason))


@dataclass(frozen=True)
class AnalyseArguments(DataArguments):
    """What is analysed: the arguments of `leaky.analyse`.

    Attributes:
        model: a torch module; it is left as it was.
        data: two samples of them run; without data, inputs that the first layer would take are tried.
    """

    model: nn.Module
    data: Any = None


@takes(AnalyseArguments)
def analyse(given: AnalyseArguments) -> Analysis:
    """What one pass tells of a model: its layers and what follows each, its sites' units, shortcuts, theory's graph.

    Returns:
        The Analysis, for `leaky.theory.tailored_slope` and `leaky.theory.signal_propagation`.

    Raises:
        InputError: if no data were given and no input could be guessed.
    """
    return Analysis(given.model, follow(given.model, calling(given.data, given.forward)))


def follow(model: nn.Module, data: Any = None) -> History:
    """Trace one forward pass in eval mode over at most two samples and return its events.

    Args:
        model: the model; it is left as it was.
        data: as `leaky.observe` takes them; None to try inputs that the first layer would take.

    Raises:
        InputError: if no data were given and no input could be guessed.
    """
    if data is not None:
        return _follow(model, data)
    for guess in guessed_inputs(model):
        try:
            return _follow(model, guess)
        except (RuntimeError, ValueError, TypeError, IndexError):  # an input of another shape is wanted
            continue
    raise InputError(
        f"data must be given for a {type(model).__name__}: what it takes could not be told from its first layer; pass "
        "a batch of its inputs"
    )


def _follow(model: nn.Module, data: Any) -> History:
    try:
        return _followed(model, data)
    except RuntimeError as error:
        if not asks_for_gradients(model, error):
            raise
        return _followed(model, data)


def _followed(model: nn.Module, data: Any) -> History:
    history = History()
    tracer = Tracer(model, _Silent(history), history=history)
    sample_dim: int | None = 0
    with preserved(model, "eval", 0) as kept, _plainly(model):
        for _ in range(3):
            batch = next(batches_of(data, model, sample_dim=sample_dim, batch_size=_SAMPLES, max_samples=_SAMPLES))
            history.sample_dim = sample_dim
            with batch.kept(), tracer.following(batch.tensors, sample_dim, rows=batch.rows):
                output = batch.run(model)
                for tensor in tensors_in(output):
                    node = tracer.node_of(tensor)
                    if node is not None:
                        history.outputs.add(node.index)
                learned = tracer.learned(tensors_in(output))
            moved = tracer.evidence is not None and tracer.evidence.sample_dim != sample_dim
            if not moved and not learned:
                break
            sample_dim = tracer.evidence.sample_dim if moved and tracer.evidence is not None else sample_dim
            kept.rewind()
    return history


@contextmanager
def _plainly(model: nn.Module) -> Iterator[None]:
    """Every operation by itself, nothing compiled or fused; without gradients, unless the model takes some itself."""
    with uncompiled(), torch.set_grad_enabled(needs_gradients(model)):
        yield


Handler: TypeAlias = Callable[[Any, Sequence[Any], dict[str, Any]], Any]
"""Runs an operation in its own way: (function, args, kwargs) → output."""


class _Replay(DispatchMode):
    def __init__(self, history: History, handlers: Mapping[int, Handler]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._events = history.events
        self._handlers = handlers
        self._number = -1

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self._number += 1
        if self._number >= len(self._events) or self._events[self._number].function is not func:
            raise InputError(
                "the model must run the same operations on every batch; on this one its operation number "
                f"{self._number + 1} is {func.name()}, and it was another one on the first"
            )
        handler = self._handlers.get(self._number)
        return func(*args, **(kwargs or {})) if handler is None else handler(func, args, kwargs or {})


def replay(
    model: nn.Module,
    history: History,
    batches: Any,
    handlers: Mapping[int, Handler],
    *,
    max_samples: int | None = None,
    batch_size: int | None = None,
    on_output: Callable[[Any], None] | None = None,
) -> None:
    """Run batches in eval mode, without gradients, with handlers in the place of some events of a history.

    Args:
        model: the model; only handlers may change it.
        history: of a pass of this model.
        batches: as `leaky.observe` takes them.
        handlers: by the event's number.
        max_samples: where to stop.
        batch_size: of data that are cut up.
        on_output: told of what the model returns for each batch.

    Raises:
        InputError: if the model runs other operations on a batch than it did in the history.
    """
    with preserved(model, "eval", 0, values=False), _plainly(model):
        for batch in batches_of(
            batches, model, sample_dim=history.sample_dim, batch_size=batch_size, max_samples=max_samples
        ):
            with batch.kept(), _closed_at_last(), _Replay(history, handlers):
                output = batch.run(model)
            if on_output is not None:
                on_output(output)


@contextmanager
def _closed_at_last() -> Iterator[None]:
    """Close torch's modes that an interruption left open: what puts a batch back must not run in a replay."""
    around = ProcessState()
    try:
        yield
    finally:
        surely([around.close_modes])


def guessed_inputs(model: nn.Module) -> list[Tensor]:
    """Inputs that the first layer of a model would take; none where it has no layer of a known kind."""
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or nn.parameter.is_lazy(weight):
            continue
        dtype, device = weight.dtype, weight.device
        if isinstance(module, nn.Linear):
            features = module.in_features
            squares = [s for s in _IMAGE_SIZES if s * s == features]
            shapes = [(2, features), (2, 4, features), *((2, 1, s, s) for s in squares)]
            return [torch.ones(shape, dtype=dtype, device=device) for shape in shapes]
        if isinstance(module, nn.Embedding):
            return [torch.zeros(shape, dtype=torch.long, device=weight.device) for shape in ((2, 8), (2,))]
        if isinstance(module, nn.modules.conv._ConvNd):
            rank = len(module.kernel_size)
            sizes = _IMAGE_SIZES if rank < 3 else _IMAGE_SIZES[:3]
            return [torch.ones((2, module.in_channels, *(size,) * rank), dtype=dtype, device=device) for size in sizes]
    return []
