"""What a compiled graph asks before it runs, without what leaky has put on the model.

Asking for every hook and every mark takes longer than a small network. That one hook is there, of the same number, says
all of it: leaky puts on all of them at once, and a copy of the model has others.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from leaky.observation.riding.hooks import Hook


def let_go_unguarded(context: Any, known_by: int) -> None:
    """Drop the guards on what leaky has put on the modules.

    Args:
        context: of Dynamo, in the middle of making a graph.
        known_by: the number of the hooks whose guards stay.
    """
    output = context._i_will_not_complain_if_bc_breaks_InstructionTranslator().output
    guards, scope = output.guards, {"L": output.root_tx.f_locals, "G": output.root_tx.f_globals}
    asked = _Asked(scope, known_by)
    kept = [guard for guard in guards if not any(map(asked.of_leaky, _sources(guard)))]
    if len(kept) < len(guards):
        guards.clear()
        for guard in kept:
            guards.add(guard, collect_debug_stack=False)


def _sources(guard: Any) -> list[Any]:
    """What a guard looks at: one place, or two of which it asks whether they hold the same."""
    create = guard.create_fn
    other = create.keywords.get("source_b") if isinstance(create, partial) else None
    return [guard.originating_source] if other is None else [guard.originating_source, other]


class _Asked:
    """What the sources of guards are.

    Args:
        scope: what their names are looked up in.
        known_by: the number of the hooks that are asked for.
    """

    def __init__(self, scope: dict[str, Any], known_by: int) -> None:
        self._scope, self._known_by = scope, known_by
        self._known: dict[str, bool] = {}

    def of_leaky(self, source: Any) -> bool:
        """Whether a place is, or lies in, something that leaky has put on a module and that is not asked for."""
        while source is not None:
            name = source.name if isinstance(source.name, str) else source.name()
            if name not in self._known:
                self._known[name] = self._is_put_there(name)
            if self._known[name]:
                return True
            source = getattr(source, "base", None)
        return False

    def _is_put_there(self, name: str) -> bool:
        if name.endswith(("_hooks_with_kwargs", "_hooks_always_called")) or "__import_leaky" in name:
            return True
        if not name.endswith((".forward", "]")):
            return False
        try:
            value = eval(name, {}, self._scope)
        except Exception:  # a name that means something to Dynamo alone
            return False
        if isinstance(value, Hook):
            return self._known_by not in (getattr(value, "number", 0), getattr(value, "key", 0))
        module = getattr(value, "__self__", None)
        ours = isinstance(module, nn.Module) and value is module.__dict__.get("forward")
        return ours and getattr(value, "__func__", None) is getattr(type(module), "forward", None)
