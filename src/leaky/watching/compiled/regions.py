"""Parts of a model that are compiled by themselves while Python runs the rest: what leaky sees of them."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from leaky.observation.riding.structure import Structure
from leaky.structure.modules import without_wrappers

UNSEEN = (
    "{} {} in parts of the model that are compiled by themselves, and {} not counted: compile the whole model instead, "
    "or watch each part by itself, leaky.watch(model.part)"
)


IN_PYTHON = (
    "{} {} called as a function in a part of the model that is compiled by itself: Python runs that part on the steps "
    "that are observed; every=10 observes fewer"
)


BEYOND = (
    "compiled code runs, in which {} {} not counted: watch some steps under "
    'torch.compiler.set_stance("force_eager") for them'
)


def functions_in_parts(model: nn.Module, structure: Structure) -> list[str]:
    """Sites that are calls of functions in parts that are compiled by themselves, which nothing tells apart outside."""
    parts = [f"{without_wrappers(name)}." for name, part in model.named_modules() if name and _is_compiled(part)]
    calls = [call for calls in structure.by_function.values() for call in calls if call is not None]
    return list(dict.fromkeys(call.site for call in calls if call.site.startswith(tuple(parts))))


def compiled_parts(model: nn.Module, structure: Structure) -> Structure:
    """What a structure has of modules in parts that are compiled by themselves."""
    parts = [part for part in model.modules() if part is not model and _is_compiled(part)]
    inside = {module for part in parts for module in part.modules()}
    return replace(structure, by_module={m: calls for m, calls in structure.by_module.items() if m in inside})


def _is_compiled(module: nn.Module) -> bool:
    return module._compiled_call_impl is not None or hasattr(module, "_orig_mod")


def in_python(sites: list[str]) -> str:
    """What is said of functions that are sites in compiled parts."""
    return IN_PYTHON.format(", ".join(sites), "is" if len(sites) == 1 else "are")


def unseen(sites: set[str]) -> str:
    """What is said of sites that compiled parts keep to themselves."""
    named = ", ".join(sorted(sites))
    return UNSEEN.format(named, "is" if len(sites) == 1 else "are", "is" if len(sites) == 1 else "are")


def beyond(gates: bool, latents: list[str]) -> str:
    """What is said of measures that compiled code shows nothing of."""
    wanted = [*(["idle_gates"] if gates else []), *(f"the latents of {name!r}" for name in latents)]
    return BEYOND.format(" and ".join(wanted), "is" if len(wanted) == 1 and gates else "are")
