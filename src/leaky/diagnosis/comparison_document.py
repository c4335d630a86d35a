"""A comparison as a document, and back; whether it got worse and why stand beside it for other readers."""

from __future__ import annotations

from leaky.diagnosis.comparison import Comparison
from leaky.documents import Json, Reader, plain

SCHEMA = Comparison


def encode(comparison: Comparison) -> Json:
    """The body of a comparison's document."""
    body: Json = plain.encode(comparison)
    return {**body, "worse": comparison.worse, "reasons": list(comparison.reasons)}


def decode(at: Reader) -> Comparison:
    """The comparison that `encode` wrote."""
    return plain.decode(Comparison, at)
