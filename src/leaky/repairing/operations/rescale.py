"""Weights brought back to a size that a step of an optimizer fits, with the directions that they have learned.

What blew the weights up, or shrank them, may have left what they point at: gentler than new weights, harsher than a
bias. A layer whose size is usual stays, and so does a bias that holds its unit on neither side.
"""

from __future__ import annotations

from collections.abc import Sequence

from leaky.repairing.calibration import CalibrateArguments, calibrated
from leaky.repairing.gates import ease_gates
from leaky.repairing.operations.operation import Operation
from leaky.repairing.plan import Action, Left
from leaky.repairing.subject import Subject

WITHIN = 3.0
"""The factor from 1 within which the deviation of a layer's pre-activations stays as it is."""


def _able(subject: Subject, wanted: Action) -> tuple[Action | None, tuple[Left, ...]]:
    ground = subject.ground
    if any(ground.unfree([layer.production.weight]) is None for layer in ground.layers.values()):
        return wanted, ()
    return None, (Left("(model)", (), "it has no layer of its own that learns, to be scaled"),)


def _carry_out(subject: Subject, actions: Sequence[Action]) -> None:
    ground = subject.ground
    with subject.undone_on_error():
        eased = ease_gates(subject.model)
        done = calibrated(CalibrateArguments(subject.model, ground.batches), first_use=True, within=WITHIN)
        touched = [
            name for layer in done.layers for name in (layer.weight, f"{layer.weight.removesuffix('weight')}bias")
        ]
        subject.forget_state_of([*eased, *touched])
    subject.changed()


RESCALE = Operation(
    kind="rescale",
    needs="a layer that learns",
    promises="the directions of the weights; frozen ones stay",
    keeps_function=False,
    able=_able,
    carry_out=_carry_out,
)
