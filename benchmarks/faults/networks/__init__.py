"""The networks into which faults are planted, by family; every family comes with every kind of rectifier."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.faults.kinds import Kind
from benchmarks.faults.networks.base import Network, Place, Tape
from benchmarks.faults.networks.convolutional import CONVOLUTIONAL
from benchmarks.faults.networks.dense import MLP, Deep, Functional, Siamese
from benchmarks.faults.networks.temporal import Recurrent, Transformer

__all__ = ["FAMILIES", "Network", "Place", "Tape"]

FAMILIES: dict[str, Callable[[Kind], Network]] = {
    "MLP": MLP,
    "functional only": Functional,
    "deep, shared activation": Deep,
    "siamese": Siamese,
    **CONVOLUTIONAL,
    "transformer (N, T, C)": lambda kind: Transformer(kind, batch_first=True),
    "transformer (T, N, C)": lambda kind: Transformer(kind, batch_first=False),
    "recurrent": Recurrent,
}
"""A factory of each family: a kind of rectifier in, a network with random weights out."""
