"""A layer anew: the weights that make a site's units drawn afresh, and everything else kept.

For layers of which most units are in trouble by their weights, so that no bias brings them back.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from leaky.repairing.initialization import gain_of, orthogonal_
from leaky.repairing.operations.operation import Operation, place_of
from leaky.repairing.operations.reviving import norm_starts
from leaky.repairing.plan import Action, Left
from leaky.repairing.subject import Subject


def _able(subject: Subject, wanted: Action) -> tuple[Action | None, tuple[Left, ...]]:
    ground, name = subject.ground, place_of(wanted)
    site = ground.site(name)
    names = [name for made in site.made for name in (made.weight, *([made.bias[0]] if made.bias else []))]
    reason = ground.unfree(names) if names else None
    if not site.made or site.not_made:
        reason = reason or next(iter(site.not_made.values()), "no weight that makes it could be found")
    return (None, (Left(name, (), reason),)) if reason is not None else (wanted, ())


def _carry_out(subject: Subject, actions: Sequence[Action]) -> None:
    ground = subject.ground
    generator = torch.Generator().manual_seed(subject.seed)
    with subject.undone_on_error(), torch.no_grad():
        for action in actions:
            site = ground.site(place_of(action))
            for made in site.made:
                layer = ground.layers[made.event.number]
                orthogonal_(layer, gain_of(site.use.activation) / layer.fan_in**0.5, generator)
                touched = [made.weight]
                if made.bias is not None:
                    ground.tensor(made.bias[0]).zero_()
                    touched.append(made.bias[0])
                for norm in made.norms:
                    for name, start in norm_starts(norm).items() if norm.norm else ():
                        ground.tensor(name).fill_(start)
                        touched.append(name)
                subject.forget_state_of(touched)
    subject.changed()


REINITIALISE = Operation(
    kind="reinitialise",
    needs="weights that make the units of one site and nothing else",
    promises="every other layer",
    keeps_function=False,
    able=_able,
    carry_out=_carry_out,
)
