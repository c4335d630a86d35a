"""What can be done to a model, one module an operation; each is an `Operation` of the same small interface."""

from __future__ import annotations

from leaky.repairing.operations.anew import BEGIN_ANEW
from leaky.repairing.operations.moments import FORGET_MOMENTS
from leaky.repairing.operations.operation import Operation
from leaky.repairing.operations.recentre import RECENTRE
from leaky.repairing.operations.reinitialise import REINITIALISE
from leaky.repairing.operations.rescale import RESCALE
from leaky.repairing.operations.revive import RECYCLE, REVIVE
from leaky.repairing.operations.standardise import STANDARDISE
from leaky.repairing.operations.statistics import ESTIMATE_STATISTICS
from leaky.repairing.operations.swap import SWAP
from leaky.repairing.plan import ActionKind

OPERATIONS: dict[ActionKind, Operation] = {
    operation.kind: operation
    for operation in (
        FORGET_MOMENTS,
        STANDARDISE,
        ESTIMATE_STATISTICS,
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
