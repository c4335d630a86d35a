"""Second derivatives, which a piecewise linear network does not have: those of an equation's residual."""

from __future__ import annotations

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding
from leaky.diagnosis.rules.rule import rule
from leaky.diagnosis.wording import evidence, seen_on
from leaky.text import counted


@rule(
    "no-curvature",
    concern="loss",
    summary="second derivatives that a piecewise linear network makes exactly 0",
)
def no_curvature(context: Context) -> list[Finding]:
    """One finding for the network, where its own second derivatives were taken and were 0 everywhere."""
    derivatives = context.record.derivatives
    hidden = [site for site in context.record.sites if not site.is_output]
    kinked = [site for site in hidden if not site.smooth]
    if derivatives is None or derivatives.order < 2 or not derivatives.zero or not kinked:
        return []
    names = sorted({site.activation for site in kinked})
    return [
        Finding(
            rule="no-curvature",
            level="error",
            site=None,
            units=(),
            message=(
                f"the derivatives of order {derivatives.order} that the loss asks for are exactly 0, "
                f"{seen_on(context.record)}: {counted(len(kinked), 'site')} ({', '.join(names[:3])}) "
                f"{'is' if len(kinked) == 1 else 'are'} piecewise linear, and so is the network"
            ),
            evidence=evidence(
                order=derivatives.order, sites=[site.name for site in kinked], activations=names, hidden=len(hidden)
            ),
            advice=(
                "Take a smooth activation at all hidden sites: Tanh, SiLU, Softplus or a sine. With a rectifier, leaky "
                "or not, the equation's residual does not depend on the network, and training can only fit the "
                "boundary. A leak does not help."
            ),
        )
    ]
