"""A torch model and its data in, a Record out."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

import leaky
from leaky.interruptions import surely_twice
from leaky.observation.batches import Batch, batches_of
from leaky.observation.checkpoints import whole_checkpoints
from leaky.observation.collector import Collector
from leaky.observation.ends import Ends, named
from leaky.observation.forms import is_inputs_and_targets
from leaky.observation.gradients import asks_for_gradients, needs_gradients
from leaky.observation.grouping import NOTE, WITH_PADDING, groups_of
from leaky.observation.layers import LayerWatch
from leaky.observation.loss import LossWatch
from leaky.observation.nesting import tensors_in
from leaky.observation.options import Options
from leaky.observation.padding import positions_of
from leaky.observation.preserve import Preserved, preserved
from leaky.observation.riding.along import Along
from leaky.record import Record
from leaky.structure.choices import Choices, is_counted
from leaky.structure.samples import Ids
from leaky.structure.trace import Tracer

_RETRIES = 2


def observe_torch(model: nn.Module, data: Any, options: Options) -> Record:
    """Run the model over the data as it is and gather what its sites show."""
    with preserved(model, options.mode, options.seed, options.device) as kept, uncompiled():
        observation = _Observation(model, options, kept)
        with observation.layers:
            observation.run(data)
        return observation.record()


@contextmanager
def uncompiled() -> Iterator[None]:
    """Compiled parts run as they were written and fused layers one operation after another, so that they are seen.

    Inside `preserved`, which has threads take turns: the switch is the process's.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with _eager(), whole_checkpoints():
            yield
    finally:
        surely_twice(lambda: [lambda: torch.backends.mha.set_fastpath_enabled(fused)])


@contextmanager
def _eager() -> Iterator[None]:
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        # the hooks that fire once more for a compiled module's wrapper do no harm: they share its name
        warnings.filterwarnings("ignore", message="Using `torch.compile.module.` when there are global hooks")
        yield


def _opens_fused(error: Exception) -> bool:
    """Whether an attention that takes nested tensors in its fused form alone asked for that; then it has it."""
    if "does not support NestedTensor outside of its fast path" not in str(error):
        return False
    if torch.backends.mha.get_fastpath_enabled():
        return False
    torch.backends.mha.set_fastpath_enabled(True)
    return True


class _Observation:
    def __init__(self, model: nn.Module, options: Options, preserved: Preserved) -> None:
        self._model = model
        self._options = options
        self._preserved = preserved
        self._sample_dim = options.assumed_dim
        self._notes: dict[str, None] = {}
        self._samples = self._batches = self._counted = 0
        self._learned = False
        self.layers = LayerWatch(model)
        self._start()

    def _start(self) -> None:
        self._collector = Collector(self._model, self._options.loss is not None)
        self._inputs, self._outputs = Ends(), Ends()
        self._loss = None if self._options.loss is None else LossWatch(self._options.loss, self._model)
        padding = self._options.mask is True
        self._along = Along(self._model, self._options, self._preserved, self._collector)
        history = self._along.operations
        self._choices = Choices()
        self._tracer = Tracer(self._model, self._collector, self._options.unit_dim, history, padding, self._choices)

    def run(self, data: Any) -> None:
        """Every batch of the data; from the start again where the first says that samples lie along another axis."""
        for _ in range(_RETRIES):
            if self._complete(data):
                return
            self._preserved.rewind()
            self._start()
        self._options = replace(self._options, sample_dim=self._sample_dim)
        self._complete(data)

    def _complete(self, data: Any) -> bool:
        """Run over the data; False where the axis of the samples turned out to be another one."""
        o = self._options
        again = isinstance(data, (torch.Tensor, np.ndarray)) or is_inputs_and_targets(data, self._sample_dim)
        for batch in batches_of(
            data,
            self._model,
            sample_dim=self._sample_dim,
            batch_size=o.batch_size,
            max_samples=o.max_samples,
            forward=o.forward,
        ):
            self._first_pass(batch)
            if self._batches == 0 and self._corrected():
                if again:
                    return False
                self._again(batch)
            self._samples += self._counted
            self._batches += 1
            if o.progress is not None:
                o.progress(self._samples)
        return True

    def _first_pass(self, batch: Batch) -> None:
        """Run a batch; the first once more where it tells how: with gradients, or with activations spelled out."""
        try:
            self._pass(batch)
        except (RuntimeError, AssertionError) as error:
            if self._batches or not (self._wants_gradients(error) or _opens_fused(error)):
                raise
            self._again(batch)
        if self._batches == 0 and self._learned:
            self._again(batch)

    def _again(self, batch: Batch) -> None:
        """Forget all passes so far, which were of this batch, and run it again."""
        self._preserved.rewind()
        before = self._tracer
        self._start()
        self._tracer.go_on_from(before)
        self._pass(batch)

    def _wants_gradients(self, error: Exception) -> bool:
        return isinstance(error, RuntimeError) and self._loss is None and asks_for_gradients(self._model, error)

    def _corrected(self) -> bool:
        """Whether the first batch said that its samples lie along another axis than was assumed."""
        evidence = self._tracer.evidence
        if evidence is None or evidence.sample_dim == self._sample_dim:
            return False
        if self._options.dim_given:
            if self._sample_dim is not None:
                self._notes.setdefault(f"sample_dim={self._sample_dim} holds as given, although {evidence.reason}")
            return False
        self._notes.setdefault(evidence.note)
        self._sample_dim = evidence.sample_dim
        return True

    def _pass(self, batch: Batch) -> None:
        """Run a batch: along its known course where it has one, else traced."""
        samples = batch.samples(self._sample_dim)
        groups = self._groups_of(batch, samples)
        self._counted = samples if groups is None else int(groups.max(initial=-1)) + 1
        seen = self._inputs.add(batch.named, samples, self._sample_dim)
        self.layers.keep()

        def take(output: Any) -> None:
            self._outputs.add(named(tensors_in(output), "output"), samples, self._sample_dim)

        scale, self._choices.counting = 1.0, is_counted(self._batches)
        choosing = bool(self._choices.counting and self._choices.found)
        if groups is not None:
            scale = self._traced(batch, samples, groups)
        elif choosing or not self._along.run(batch, samples, seen, take):
            self.layers.put_back()
            scale = self._traced(batch, samples)
            self._along.learn(seen, self._tracer.masks, self._learned)
        self.layers.end_pass()
        self._collector.end_batch(self._batches, scale, self._counted)

    def _groups_of(self, batch: Batch, samples: int) -> Ids | None:
        groups = None if self._sample_dim is None else groups_of(batch, samples, self._options.groups)
        if groups is not None and self._options.groups is True:
            self._notes.setdefault(NOTE)
        return groups

    def _traced(self, batch: Batch, samples: int, groups: Ids | None = None) -> float:
        """Run it under the tracer; the factor from the gradient of the batch's loss to that of one sample's."""
        scale = 1.0
        try:
            with batch.kept(), torch.set_grad_enabled(self._with_gradients):
                with self._tracer.following(batch.tensors, self._sample_dim, samples, groups, batch.rows):
                    masks = self._tracer.masks.by_key
                    real = positions_of(batch, samples, self._options.mask, self._tracer.node_of, masks)
                    if groups is not None and real.by_key:
                        self._notes.setdefault(WITH_PADDING)
                    self._collector.expect(self._counted, real if groups is None else None)
                    with self._along.learning(batch, samples):
                        output = batch.run(self._model)
                    self._mark_outputs(output)
                    self._learned = self._tracer.learned(tensors_in(output))
                    endings = self._tracer.endings(tensors_in(output)) if self._batches == 0 else ()
                outputs = named(tensors_in(output), "output")
                self._outputs.add(outputs, samples, self._sample_dim, endings)
                if self._loss is not None:
                    self._collector.listen()
                    self.layers.looking = False
                    scale, note = self._loss.backward(output, outputs, batch.original, samples, self._sample_dim)
                    if note:
                        self._notes.setdefault(note)
        finally:
            self._collector.release()
            self.layers.looking = True
        return scale

    @property
    def _with_gradients(self) -> bool:
        return self._loss is not None or needs_gradients(self._model)

    def _mark_outputs(self, output: Any) -> None:
        for tensor in tensors_in(output):
            node = self._tracer.node_of(tensor)
            for site in (None if node is None else node.site, self._tracer.paths.behind(node)):
                if site is not None:
                    self._collector.mark_output(site)
            self._collector.mark_paths(self._tracer.paths.unavoidable(node))

    def record(self) -> Record:
        """What was seen."""
        o = self._options
        for note in self._preserved.notes:
            self._notes.setdefault(note)
        if self._preserved.mode_is_fixed:
            self._notes.setdefault("the model has no mode to choose and ran in the one that it was frozen in")
        if self._tracer.masks.hid:
            hidden = " and ".join(self._tracer.masks.hid)
            self._notes.setdefault(f"positions that the model hides by {hidden} are padding; mask=False counts them")
        if any(type(module).__name__ == "OptimizedModule" for module in self._model.modules()):
            self._notes.setdefault("compiled parts ran uncompiled while they were observed")
        return Record(
            model=type(self._model).__name__,
            data=f"{self._samples:,} sample{'' if self._samples == 1 else 's'}",
            mode=o.mode,
            samples=self._samples,
            batches=self._batches,
            sites=self._collector.sites(),
            not_examined=self._collector.left_out(),
            seed=o.seed,
            notes=tuple(self._notes),
            versions={"leaky": leaky.__version__, "torch": torch.__version__, "numpy": np.__version__},
            inputs=self._inputs.tensors,
            outputs=self._outputs.tensors,
            terms=() if self._loss is None else self._loss.terms,
            gradients=None if self._loss is None else self._loss.gradients,
            derivatives=None if self._loss is None else self._loss.derivatives,
            normalisations=self.layers.normalisations(),
            shared_layers=self.layers.shared_layers(),
            unregistered=self.layers.unregistered(),
            choices=self._choices.found,
        )
