"""What the loss is and does, where a watch sees it: how it was made, whether it rises for good, or comes and goes."""

from __future__ import annotations

from leaky.diagnosis import Finding, Level
from leaky.watching.alarm_rules.now import Now, finding
from leaky.watching.course import CLOSE

LEAST_RISE = 0.1
"""Of the lowest level, up to which no rise is told of however sure it is."""
LOST = 2
"""Times that what was learned must have been lost."""


def rising_loss(now: Now) -> list[Finding]:
    """A loss that lies far above its lowest level so far, beyond what batches differ by, and stays there.

    Steps that follow the gradient lower the loss, unless they are too long, or the gradient is not the loss' own. In a
    game the other side raises it; later than the first steps so do targets that move, as a value function's; and a rise
    at one stroke is one of the data, as of what an agent has met since.
    """
    course, t = now.loop.course, now.thresholds
    rise = course.rise if course.stays_above else None
    if rise is None or not rise.stays or not rise.by >= t.loss_error * rise.error:
        return []
    if not rise.by >= max(t.loss_rise * rise.gained, LEAST_RISE * abs(rise.low)):
        return []
    message = f"the loss has risen from {rise.low:.3g} to {rise.now:.3g}, by {rise.by / max(rise.error, 1e-30):.3g}"
    message += " times the standard error, though steps follow its gradient"
    advice = (
        "Look at the sign of the loss and at derivatives of your own, at the rate and its schedule, at weight decay, "
        "and at whether the data have changed; where targets move or another network is trained against, it may rise."
    )
    level: Level = "info" if course.others or course.seen > CLOSE or rise.jumped else "warning"
    return [finding("rising-loss", level, None, message, advice, low=rise.low, now=rise.now, error=rise.error)]


def loss_misfit(now: Now) -> list[Finding]:
    """A loss that was made of what the model gives in a way that keeps it from learning, whatever the data."""
    seen = now.loop.course.misfit
    if seen is None:
        return []
    if seen.rule == "target-shape":
        message = (
            f"the loss compares every output with every target: outputs of shape ({seen.given}) and targets of another "
            f"broadcast to {seen.taken} differences"
        )
        advice = (
            "Give both one shape: `target[:, None]`, or `output.squeeze(-1)`. As it is the network can learn no more "
            "than the targets' mean."
        )
        return [finding(seen.rule, "error", None, message, advice, made=seen.taken)]
    message = f"what the loss is made of has gone through a {seen.given} before {seen.taken}, which squashes it itself"
    advice = (
        f"Give the loss the logits: leave the {seen.given} out (take it when predicting). Twice, it flattens the loss "
        "and its gradient."
    )
    return [finding(seen.rule, "warning", None, message, advice, made_by=seen.given)]


def unshuffled(now: Now) -> list[Finding]:
    """Batches that differ far more than random draws do, and a loss that comes back whenever other samples come."""
    times = now.loop.course.lost
    if times < LOST or not now.order >= now.thresholds.batch_order:
        return []
    message = (
        f"{times} times the loss came back to where it began, after batches that had been learned, and the means of "
        f"batches vary {now.order:.3g} times as much as those of random draws: the samples come in an order"
    )
    advice = "Shuffle the samples: what is learned of those that come first is forgotten with those that come next."
    return [finding("unshuffled", "warning", None, message, advice, times=times, ratio=now.order)]
