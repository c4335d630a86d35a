"""What data are and how to observe: the options of every call, described and checked once, passed on as one thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from leaky.checking import dimension, seed_of, shown, whole
from leaky.errors import InputError

AUTOMATIC = "auto"
MODES = ("eval", "train")


@dataclass(frozen=True, kw_only=True)
class DataArguments:
    """What data are and how a model is called with them: the same in every function that takes a model with data.

    Attributes:
        data: a tensor or array of shape (samples, …), or inputs and targets as a tuple of such, which are cut into
            batches; or an iterable of batches, each a tensor, an array, a tuple whose first item is the input, or
            something with names (a mapping, a dataclass, a namedtuple, a graph), of which the model gets what its
            forward asks for, or all of it as one argument.
        forward: how to call the model where that is not enough: a function of the model and a batch as the data gave
            it, its tensors on the model's device, that returns the output.
    """

    forward: Callable[[Any, Any], Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Options(DataArguments):
    """How to observe a model.

    Attributes:
        mode: "eval" or "train", the mode of the modules while they are observed.
        loss: one of torch's (`nn.CrossEntropyLoss()`, `F.mse_loss`), which gets the model's output and the batch's
            target; or a function of the model's output and the batch, as the data gave it. With it the gradient at
            every site's output is recorded too, scaled to the loss of one sample.
        device: where to run; by default where the model is.
        max_samples: samples after which to stop.
        seed: for the random numbers while observing; the generators are put back either way.
        unit_dim: axis of the units in every pre-activation that has it, whatever the model's structure tells.
        sample_dim: axis of the inputs that holds the samples; None where every batch is one sample; by default 0,
            unless a layer of the model says otherwise (`nn.RNN` with batch_first=False).
        batch_size: samples a batch, where an array is cut up (256).
        progress: called with the number of samples seen, after each batch.
        mask: which positions are padding and enter no figure: True takes `attention_mask` or torch's padding masks from
            the batch; False takes none; a name in the batch, or a function of the batch, gives a tensor of shape
            (samples, positions), True where real.
        groups: which rows of the input are one sample together, because they depend on each other (the nodes of a
            graph, the visits of a patient): True takes the graphs of a batch of several, by `batch` beside
            `edge_index`; False counts every row; a name in the batch, or a function of the batch, gives one whole
            number a row. Padding is then counted.
    """

    mode: str = "eval"
    loss: Callable[[Any, Any], Any] | None = None
    device: str | None = None
    max_samples: int | None = None
    seed: int | None = None
    unit_dim: int | None = None
    sample_dim: int | str | None = AUTOMATIC
    batch_size: int | None = None
    progress: Callable[[int], None] | None = None
    mask: bool | str | Callable[[Any], Any] = True
    groups: bool | str | Callable[[Any], Any] = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"mode must be 'eval' or 'train', not {self.mode!r}")
        for name in ("max_samples", "batch_size"):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name), 1)
        seed_of(self.seed)
        if self.unit_dim is not None:
            dimension("unit_dim", self.unit_dim)
        if isinstance(self.sample_dim, str) and self.sample_dim != AUTOMATIC:
            raise InputError(f"sample_dim must be an axis, None or {AUTOMATIC!r}, not {shown(self.sample_dim)}")
        if self.sample_dim is not None and not isinstance(self.sample_dim, str):
            dimension("sample_dim", self.sample_dim)
        if self.loss is not None and not callable(self.loss):
            raise InputError(f"loss must be a function of the output and the batch, not {type(self.loss).__name__}")
        if self.forward is not None and not callable(self.forward):
            raise InputError(f"forward must be a function of the model and a batch, not {type(self.forward).__name__}")
        for name in ("mask", "groups"):
            given = getattr(self, name)
            if not (isinstance(given, (bool, str)) or callable(given)):
                kind = type(given).__name__
                raise InputError(f"{name} must be True, False, a name in the batch or a function of it, not {kind}")

    @property
    def assumed_dim(self) -> int | None:
        """The axis of the samples that is assumed at first."""
        return 0 if isinstance(self.sample_dim, str) else self.sample_dim

    @property
    def dim_given(self) -> bool:
        """Whether that axis holds even where the model says otherwise."""
        return not isinstance(self.sample_dim, str)


@dataclass(frozen=True)
class ObserveArguments(Options):
    """What is observed, and how: the arguments of `leaky.observe`.

    Attributes:
        model: a torch module, or an ONNX model as path or bytes. It is left as it was.
    """

    model: Any
    data: Any


FORMER = {"batch_dim": "sample_dim", "batches": "data"}
"""What options were called."""


def renamed(function: str) -> Callable[[str, Any], str | None]:
    """What to write in place of an option's former name, for `leaky.arguments.takes`."""
    return lambda name, value: (
        f"{function} has no option {name!r}; did you mean {FORMER[name]!r}?" if name in FORMER else None
    )
