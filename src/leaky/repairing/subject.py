"""The model that is repaired, with its data and what is known of both.

Must not look twice while nothing has changed: the traced structure, the record and the outputs are kept until an
operation says what it changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from leaky.observation import observe
from leaky.record import Record
from leaky.repairing.beginning import ROW
from leaky.repairing.ground import Ground
from leaky.repairing.snapshot import Snapshot


class Subject:
    """A model, its data, and the optimizer that goes on with it.

    Args:
        model: changed in place by operations.
        data: the evidence, as `leaky.observe` takes them; an iterator or loader is run through once and kept.
        optimizer: whose state of what begins anew does so too.
        seed: of new weights.

    Attributes:
        row: the deviation of an embedding's table that begins anew.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.seed, self.row = seed, ROW
        self._data = data
        self._record: Record | None = None
        self._ground: Ground | None = None

    @property
    def ground(self) -> Ground:
        """Structure and evidence, traced at first use."""
        if self._ground is None:
            self._ground = Ground(self.model, self._data)
            self._data = self._ground.batches
        return self._ground

    def known(self, record: Record) -> None:
        """Take over what was seen of the model as it is."""
        self._record = record

    @property
    def data(self) -> Any:
        """The evidence, in a form that gives the same batches every time."""
        return self.ground.batches

    @property
    def record(self) -> Record:
        """What every unit does on the data."""
        if self._record is None:
            self._record = observe(self.model, self.data, seed=0)
        return self._record

    @property
    def outputs(self) -> list[Tensor]:
        """What the model returns on the data."""
        return self.ground.outputs()

    def changed(self, *, modules: bool = False) -> None:
        """Forget what was seen; with `modules`, the structure too, because other operations run now."""
        self._record = None
        if modules:
            self._ground = None
        elif self._ground is not None:
            self._ground.forget()

    def forget_state(self, parameters: list[nn.Parameter]) -> None:
        """Let the optimizer's state of these parameters begin anew."""
        if self.optimizer is not None:
            for parameter in parameters:
                self.optimizer.state.pop(parameter, None)

    def forget_state_of(self, names: Iterable[str]) -> None:
        """The same for parameters by name; a name of none, such as a missing bias, is passed over."""
        parameters = self.ground.parameters
        self.forget_state([parameters[name] for name in names if name in parameters])

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Put model and optimizer back to the last bit if what is done inside raises."""
        snapshot = Snapshot(self.model, self.optimizer)
        try:
            yield
        except BaseException:
            snapshot.restore()
            self.changed(modules=True)
            raise
