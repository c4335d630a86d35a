"""What can be done to a model, one module an operation; each is an `Operation` of the same small interface.

Those that are of use by themselves are functions too: `leaky.operations.revive(model, units, data)`.
"""

from __future__ import annotations

from leaky.repairing.operations.anew import BEGIN_ANEW
from leaky.repairing.operations.levelling import LEVEL
from leaky.repairing.operations.moments import FORGET_MOMENTS
from leaky.repairing.operations.operation import Operation
from leaky.repairing.operations.recentring import RECENTRE, recentre
from leaky.repairing.operations.reinitialise import REINITIALISE
from leaky.repairing.operations.rescale import RESCALE
from leaky.repairing.operations.reviving import RECYCLE, REVIVE, revive
from leaky.repairing.operations.standardising import STANDARDISE, standardise
from leaky.repairing.operations.statistics import ESTIMATE_STATISTICS
from leaky.repairing.operations.swapping import SWAP, swap
from leaky.repairing.plan import ActionKind

__all__ = ["OPERATIONS", "Operation", "recentre", "revive", "standardise", "swap"]

OPERATIONS: dict[ActionKind, Operation] = {
    operation.kind: operation
    for operation in (
        FORGET_MOMENTS,
        STANDARDISE,
        ESTIMATE_STATISTICS,
        LEVEL,
        RECENTRE,
        REVIVE,
        RECYCLE,
        SWAP,
        RESCALE,
        REINITIALISE,
        BEGIN_ANEW,
    )
}
"""Every operation, gentlest first, by the kind of its actions."""
