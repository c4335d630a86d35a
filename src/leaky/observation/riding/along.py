"""The batches of a check that need no tracer: those of a form that was traced once, as long as they keep its course.

Must give the record that tracing every batch gives. What cannot be known from a course is traced: gradients, ways of
the user's own to call the model, padding, models that change themselves or draw random numbers of Python's or NumPy's,
and what `recording` refuses. A pass that strays is forgotten, what it touched is put back, and the batch is traced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from leaky.observation.batches import Batch
from leaky.observation.collector import Collector, RepeatedCall
from leaky.observation.gradients import needs_gradients
from leaky.observation.options import Options
from leaky.observation.padding import hides_positions
from leaky.observation.preserve import Preserved
from leaky.observation.random_state import GENERATORS, Moment
from leaky.observation.riding.course import ExpectedCall, Following
from leaky.observation.riding.form import FormlessError, form_of
from leaky.observation.riding.recording import Operations, Recording
from leaky.observation.riding.state import OwnState, is_of_torch_alone
from leaky.record import TensorStatistics
from leaky.structure.masking import Masks

MOST_FORMS = 16
"""Forms of batches whose courses are kept."""
MOST_STRAYED = 3
"""Passes that strayed after which every batch is traced: the model never runs the same way twice."""

OF_TORCH = ("torch's",)
ELSEWHERE = ("Python's", "NumPy's")

Inputs = Sequence[TensorStatistics | None]


@dataclass(eq=False)
class _Known:
    """What was learned of one form of batches.

    Attributes:
        calls: of the course; None where their passes have none.
        masklike: places of inputs that may be masks.
        writes: whether an operation of the course writes to a tensor that it was given.
    """

    calls: list[ExpectedCall] | None
    masklike: frozenset[int]
    writes: bool


class Along:
    """Learns the courses of traced passes, and goes along with later ones.

    Args:
        model: the model.
        options: how it is observed.
        preserved: what holds its state.
        collector: of the sites.
    """

    def __init__(self, model: nn.Module, options: Options, preserved: Preserved, collector: Collector) -> None:
        self.operations = Operations()
        self._model, self._mask = model, options.mask
        self._preserved, self._collector = preserved, collector
        self._possible = options.loss is None and options.forward is None and isinstance(options.mask, bool)
        self._known: dict[Hashable, _Known] = {}
        self._strayed = 0
        self._generators = OF_TORCH if is_of_torch_alone(model) else tuple(GENERATORS)
        self._pass: tuple[Hashable, Recording, OwnState, Moment] | None = None

    @contextmanager
    def learning(self, batch: Batch, samples: int) -> Iterator[None]:
        """While the model runs on a batch that is traced."""
        form = self._form_of(batch, samples)
        self._pass = None
        if form is None or form in self._known or len(self._known) >= MOST_FORMS or _dispatch_modes() > 1:
            yield
            return
        recording = Recording(self._model)
        state, moment = OwnState(self._model), Moment(ELSEWHERE)
        self._collector.recording = self.operations.recording = recording
        try:
            with recording:
                yield
        finally:
            self._collector.recording = self.operations.recording = None
        self._pass = form, recording, state, moment

    def learn(self, inputs: Inputs, masks: Masks, learned: bool) -> None:
        """Keep the course of the pass that was traced, if it has one.

        Args:
            inputs: what went in.
            masks: of padding that the tracer found.
            learned: whether the tracer would see more on the same batch the next time.
        """
        if self._pass is None or learned:
            return
        (form, recording, state, moment), self._pass = self._pass, None
        if not state.unchanged or moment.passed or not self._preserved.untouched:
            self._possible = False
            return
        calls = None if masks.plan or masks.by_key else recording.course
        self._known[form] = _Known(calls, _masklike(inputs), recording.writes)
        intakes = [call.intake for call in calls or () if isinstance(call.intake, RepeatedCall)]
        of_site = Counter(intake.accumulator for intake in intakes)
        for intake in intakes:
            intake.alone = of_site[intake.accumulator] == 1

    def run(self, batch: Batch, samples: int, inputs: Inputs, take: Callable[[Any], None]) -> bool:
        """Run a batch without the tracer; False where it must be traced, and nothing of it is left then.

        Args:
            batch: it.
            samples: in it.
            inputs: what goes in.
            take: takes in the model's output.
        """
        form = self._form_of(batch, samples) if self._known else None
        known = None if form is None else self._known.get(form)
        if known is None or known.calls is None or (self._mask and not _masklike(inputs) <= known.masklike):
            return False
        if torch._C._len_torch_function_stack() or _dispatch_modes():
            return False
        moment, following = Moment(self._generators), Following(known.calls)
        with batch.kept(lambda: following.completed and not known.writes), torch.set_grad_enabled(False):
            with following:
                output = batch.run(self._model)
            if following.completed:
                take(output)
                return True
        self._collector.forget()
        self._preserved.put_back_values()
        moment.put_back()
        del self._known[form]
        self._strayed += 1
        self._possible &= self._strayed < MOST_STRAYED
        return False

    def _form_of(self, batch: Batch, samples: int) -> Hashable | None:
        """The form of a batch; None where it must be traced, whatever its form."""
        if not self._possible or needs_gradients(self._model) or hides_positions(batch, samples, self._mask):
            return None
        try:
            return form_of((batch.args, batch.kwargs))
        except FormlessError:
            return None


def _masklike(inputs: Inputs) -> frozenset[int]:
    """Which of the inputs may be masks by themselves: those of zeros and ones alone."""
    return frozenset(
        place
        for place, seen in enumerate(inputs)
        if seen is None or (seen.whole and seen.minimum >= 0 and seen.maximum <= 1)
    )


def _dispatch_modes() -> int:
    return len(_get_current_dispatch_mode_stack())
