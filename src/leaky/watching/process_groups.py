"""What torch.distributed says of this process: whether it is one of several, and the first of them."""

from __future__ import annotations

from typing import Any

from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from leaky.errors import InputError


def without_replicas(model: nn.Module) -> nn.Module:
    """The model that a DistributedDataParallel replicates, whose passes it runs; others as they are."""
    inner: nn.Module = model.module if isinstance(model, DistributedDataParallel) else model
    return inner


def must_decide_together(group: Any) -> None:
    """Refuse to control a training of several ranks each of which would decide by itself.

    Raises:
        InputError: if that is so.
    """
    several = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    if several and group is None:
        raise InputError(
            "a training on several ranks must be controlled by all of them alike: pass group=torch.distributed.group."
            "WORLD to leaky.watch, so that alarms are those of all ranks"
        )


def is_first(group: Any) -> bool:
    """Whether this process writes for all of them.

    Raises:
        InputError: if torch.distributed is not initialised, or this process is not of the group.
    """
    if group is None:
        return True
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank(group) < 0:
        raise InputError("group must be a process group of torch.distributed that this process is of, and is not")
    return distributed.get_rank(group) == 0
