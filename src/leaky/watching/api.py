"""`leaky.watch`: the one entry to watching a training."""

from __future__ import annotations

from leaky.arguments import takes
from leaky.watching.arguments import WatchArguments
from leaky.watching.watch import Watch


@takes(WatchArguments)
def watch(given: WatchArguments) -> Watch:
    """Watch every unit of a model while it trains, in the user's own loop, which stays as it is.

    `with leaky.watch(model, optimizer) as watch: …`, or `watch.start()` … `watch.stop()`. A step is over when the
    optimizer has stepped, or at `watch.step()` where no optimizer was given. Weights, gradients, random numbers and
    buffers are bit for bit those of the training without it.

    Returns:
        The Watch: history, alarms and controls so far.

    Raises:
        InputError: if an argument is not what it must be, or the log cannot be written.
    """
    return Watch(given)
