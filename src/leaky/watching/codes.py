"""Codes that a model chooses by what it computes, as a quantiser does: rows of an embedding that it looks up.

Which rows a step chose its gradient tells, which is exactly 0 at the others: without a hook, at one step a report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from leaky.record import FloatArray, TensorStatistics
from leaky.structure.modules import without_wrappers
from leaky.theory import samples_needed

MOST = 4096
"""Rows of a table up to which it is looked at."""


@dataclass(eq=False)
class CodeTable:
    """One table of codes.

    Attributes:
        rows: of it.
        chosen: steps at which each row was chosen, of the stretch that goes on, shape (rows,).
        steps, picks: of that stretch, a pick being a sample.
        same: whether each of its steps chose the same rows, the first ones, as places in a sequence are.
        judged: `chosen` of the last stretch that was complete; None before.
    """

    rows: int
    chosen: FloatArray
    steps: int = 0
    picks: int = 0
    same: bool = True
    judged: FloatArray | None = None

    def add(self, chosen: FloatArray, picks: int, delta: float) -> None:
        """Take in a step; judge where so many picks were seen that no row of half an even share is never chosen."""
        first = int(chosen.sum())
        as_before = np.array_equal(self.chosen, self.steps * chosen)
        self.same &= as_before and first > 1 and bool(chosen[:first].all())
        self.chosen += chosen
        self.steps += 1
        self.picks += picks
        if self.picks >= samples_needed(self.rows, 0.5 / self.rows, delta):
            self.judged = np.full(self.rows, 1.0) if self.same else self.chosen
            self.chosen, self.steps, self.picks, self.same = np.zeros(self.rows), 0, 0, True


class ChosenCodes:
    """The tables of a model whose rows it chooses itself.

    Args:
        model: it.
    """

    def __init__(self, model: nn.Module) -> None:
        self._weights = {
            without_wrappers(name): module.weight
            for name, module in model.named_modules()
            if isinstance(module, nn.Embedding) and 2 <= module.num_embeddings <= MOST and module.padding_idx is None
        }
        self._tables = {name: CodeTable(len(weight), np.zeros(len(weight))) for name, weight in self._weights.items()}

    def look(self, inputs: Iterable[TensorStatistics], samples: int, delta: float) -> Mapping[str, FloatArray]:
        """How often each row of each table was chosen in the last stretch that was judged, by the table's name.

        Args:
            inputs: of the model; where whole numbers go in, rows may be words that are rare.
            samples: of the last pass.
            delta: δ.
        """
        if any(not tensor.is_floating for tensor in inputs):
            self._tables = {}
        for name, table in self._tables.items():
            gradient = self._weights[name].grad
            if type(gradient) is Tensor and not gradient.is_sparse and len(gradient) == table.rows:
                chosen = (gradient != 0).flatten(1).any(1).cpu().double().numpy()
                if chosen.any():
                    table.add(chosen, samples, delta)
        return {name: table.judged for name, table in self._tables.items() if table.judged is not None}
