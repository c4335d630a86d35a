"""A record as a document of its own."""

from __future__ import annotations

from leaky.documents import Reader
from leaky.record.reading import record_from
from leaky.record.writing import record_to_dict

encode = record_to_dict
SCHEMA = None
"""Kept by hand, as the record's part of checkup.schema.json: its lists are named by region."""


def decode(at: Reader) -> object:
    """The record that `encode` wrote."""
    return record_from(at)
