"""What Dynamo follows when it compiles a watched model: leaky's operators are put beside the sites.

Functions marked as constant run once, in Python, while a graph is made: they tell which site a call is. Everything else
here becomes part of the graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, _dynamo
from torch._dynamo.comptime import comptime
from torch._dynamo.symbolic_convert import InstructionTranslator
from torch._guards import TracingContext
from torch.overrides import TorchFunctionMode

from leaky.watching.compiled import operators
from leaky.watching.compiled.examples import example
from leaky.watching.compiled.gathering import gather, mark_version
from leaky.watching.compiled.guards import let_go_unguarded
from leaky.watching.compiled.operators import TOKEN
from leaky.watching.compiled.site_maps import (
    GRADIENTS_SHOW,
    Meeting,
    SiteMap,
    calls_of,
    meeting_numbered,
    site_map_numbered,
)
from leaky.watching.compiled.skipping import leave_to_python

BY_OUTPUT, MASKED, KEPT, SMOOTH, POSITIONS = 1, 2, 4, 8, 16
FLAGS = 128
"""Numbers of calls carry what must be known of each: these, and which argument is the pre-activation."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _constant(function: _Function) -> _Function:
    """Run this once, in Python, when a graph is made; what it gives becomes part of the graph."""
    marked: _Function = _dynamo.assume_constant_result(function)  # type: ignore[no-untyped-call]
    return marked


TAKEN: list[tuple[int, Tensor, Tensor | None]] = []
"""The call of each site that is running, the innermost last; empty between two."""


def begin(number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """A module through which passes come in starts, inside the graph."""
    comptime(_prepare)
    if not _is_outermost(number):
        return
    operators.begin(_tensors((args, kwargs)), TOKEN, number, torch.is_grad_enabled())
    if _has_functions(number):
        CompiledFunctions(number).__enter__()  # type: ignore[no-untyped-call]


def end(number: int) -> None:
    """It has run."""
    if not _ends(number):
        return
    if _has_functions(number):
        torch._C._pop_torch_function_stack()
    operators.end(TOKEN, number, [], [])
    comptime(gather)
    comptime(_let_go_unguarded)


class CompiledFunctions(TorchFunctionMode):
    """Meets the calls of functions that are sites.

    Args:
        number: of the map that knows them.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not torch.compiler.is_compiling():
            return func(*args, **(kwargs or {}))
        call = _next_of_function(self.number, func)
        if call < 0:
            return func(*args, **(kwargs or {}))
        taken = _taken(call, args[call % FLAGS // POSITIONS])
        output = func(*args, **(kwargs or {}))
        _ran(*taken, output)
        return output


leave_to_python(CompiledFunctions.__torch_function__.__code__)


def before_site(key: int, z: Tensor) -> None:
    """A module that is a site, whose calls have this key, is about to run, and may overwrite its pre-activation."""
    if not _is_nested():
        TAKEN.append(_taken(_next_of_module(key), z))


def after_site(key: int, z: Tensor, output: Tensor) -> None:
    """It has run."""
    taken = _taken(_next_of_module(key), z) if _is_nested() else TAKEN.pop()
    _ran(*taken, output)


def _taken(call: int, z: Tensor) -> tuple[int, Tensor, Tensor | None]:
    """A call of a site is about to run: its number, what parts its gradient's elements, and the pass it is in.

    What the model goes on to compute must not be computed from what is handed over here: a compiler fuses what has one
    reader, lays out in memory what has several, and adds in the order of that layout. So the gradient is parted by a
    value of its own, but for the output of an activation behind a product: either way that lies in memory.
    """
    z = z.detach()
    if call < 0:
        return call, z, None
    seen = operators.take(z, TOKEN, call // FLAGS)
    comptime(mark_version)
    if call & MASKED:  # a byte an element: Inductor writes booleans to a CPU's memory one by one
        return call, torch.where(z > _threshold(call // FLAGS), 1.0, 0.0).to(torch.uint8), seen
    return call, z.clone() if call & KEPT else z, seen


def _ran(call: int, value: Tensor, seen: Tensor | None, output: Tensor) -> None:
    """It has run."""
    comptime(_let_go_unguarded)
    if call < 0:
        return
    if call & SMOOTH:
        operators.follow(output.detach().neg().neg(), TOKEN, call // FLAGS)
    if output.requires_grad and GRADIENTS_SHOW:
        if call & BY_OUTPUT:
            value = output.detach()

        def arrived(gradient: Tensor) -> Tensor:
            before = -gradient
            zero: Tensor = operators.arrive(gradient, value, seen, call // FLAGS)
            return -(before - zero)

        output.register_hook(arrived)  # type: ignore[no-untyped-call]


def _tensors(value: Any) -> list[Tensor]:
    """As `leaky.observation.nesting.tensors_in`, of what Dynamo can look into."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in _tensors(item)]
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in _tensors(item)]
    return []


class _Trace:
    """What is known of the graph that is being made.

    Attributes:
        outermost: the map whose module is being followed; 0 for none.
        known_by: the number that tells a graph from one of another model: of the outermost module, or the first site.
        met: how often each module or function has been met.
    """

    def __init__(self) -> None:
        self.outermost = self.known_by = 0
        self.met: Counter[Any] = Counter()

    @classmethod
    def current(cls) -> _Trace:
        """Of this attempt; Dynamo begins anew when one fails."""
        context = TracingContext.get()
        trace = getattr(context, "_leaky", None)
        if trace is None:
            trace = context._leaky = cls()  # type: ignore[attr-defined]
        assert isinstance(trace, _Trace)
        return trace


def _prepare(context: Any) -> None:
    """Learn the structure of the module whose compilation begins, if it is the outermost."""
    trace = _Trace.current()
    number = context.get_local("number").as_python_constant()
    site_map = site_map_numbered(number)
    module = site_map.module()
    if trace.outermost or site_map.passes is None or module is None:
        return
    hidden = "_i_will_not_complain_if_bc_breaks_VariableTracker"
    args, kwargs = (example(getattr(context.get_local(name), hidden)()) for name in ("args", "kwargs"))
    if site_map.passes.prepare(module, args, kwargs) is not None:
        trace.outermost = trace.known_by = number
        TAKEN.clear()  # of a pass that never came to its end


def _let_go_unguarded(context: Any) -> None:
    """Ask nothing of what leaky has put on the model, but for what tells its graph from those of other models."""
    with suppress(AttributeError, TypeError):  # in a torch that names them otherwise they stay: slower, and as right
        let_go_unguarded(context, _Trace.current().known_by)


@_constant
def _is_nested() -> bool:
    return _nested()


def _nested() -> bool:
    """Whether what is followed goes into a graph of its own, as inside a checkpoint, and may change nothing outside."""
    tx = InstructionTranslator.current_tx()
    return getattr(tx.output.current_tracer, "parent", None) is not None


@_constant
def _is_outermost(number: int) -> bool:
    return _Trace.current().outermost == number


@_constant
def _ends(number: int) -> bool:
    trace = _Trace.current()
    ends = trace.outermost == number
    if ends:
        trace.outermost = 0
    return ends


@_constant
def _has_functions(number: int) -> bool:
    return bool(site_map_numbered(number).by_function)


@_constant
def _next_of_module(key: int) -> int:
    trace = _Trace.current()
    trace.known_by = trace.known_by or key
    call = _next(key, calls_of(key))
    return -1 if _nested() and any(each.in_place for each in calls_of(key)) else call


@_constant
def _next_of_function(number: int, function: Any) -> int:
    site_map, trace = site_map_numbered(number), _Trace.current()
    trace.known_by = trace.known_by or number
    calls, place = site_map.by_function.get(function, []), trace.met[function]
    if not _from_the_start(site_map):  # behind a graph break, where the count is another
        here = [n for n, call in enumerate(calls) if n >= place and call is not None and _is_here(call.call.source)]
        place = here[0] if here else len(calls)
    trace.met[function] = place + 1
    meeting = calls[place] if place < len(calls) else None
    return -1 if meeting is None or not _is_here(meeting.call.source) else _call(calls, place)


@_constant
def _threshold(number: int) -> float:
    return meeting_numbered(number).known.activation.threshold


def _next(key: Any, calls: Sequence[Meeting | None]) -> int:
    """The next of these calls in the graph; behind a graph break only the one of a module that runs once is known."""
    trace = _Trace.current()
    trace.met[key] += 1
    known = len(calls) == 1 or any(call is not None and _from_the_start(call.site_map) for call in calls)
    return _call(calls, trace.met[key] - 1) if known else -1


def _from_the_start(site_map: SiteMap) -> bool:
    """Whether the graph that is being made begins where the pass does, and not behind a graph break."""
    if _Trace.current().outermost:
        return True
    code = getattr(getattr(type(site_map.module()), "forward", None), "__code__", None)
    root = next(iter(TracingContext.extract_stack()), None)
    if code is None or root is None or (root.name, root.filename) != (code.co_name, code.co_filename):
        return False
    return root.lineno in {line for _, _, line in code.co_lines()}


def _is_here(source: str | None) -> bool:
    """Whether the user's line "file.py:31" is among those that are being followed."""
    lines = (f"{Path(frame.filename).name}:{frame.lineno}" for frame in TracingContext.extract_stack())
    return source is None or source in lines


def _call(calls: Sequence[Meeting | None], place: int) -> int:
    """A call by its place, with what must be known of it; −1 for none."""
    meeting = calls[place] if place < len(calls) else None
    if meeting is None:
        return -1
    known = meeting.known
    flags = BY_OUTPUT * meeting.by_output + MASKED * meeting.masked + KEPT * meeting.kept
    return meeting.number * FLAGS + flags + SMOOTH * known.activation.smooth + POSITIONS * known.position
