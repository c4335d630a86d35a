"""How to observe: the options of every call that observes, checked once and passed on as one thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from leaky.errors import InputError
from leaky.text import did_you_mean, named

AUTOMATIC = "auto"
MODES = ("eval", "train")


@dataclass(frozen=True)
class Options:
    """How to observe a model: the arguments of `leaky.observe` by their names, and what only the command line says.

    Attributes:
        model_name, data_name: what to call the two in reports; by default what they are.
        on_noise: whether the data are made up; every verdict then says so.
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
    forward: Callable[[Any, Any], Any] | None = None
    mask: bool | str | Callable[[Any], Any] = True
    groups: bool | str | Callable[[Any], Any] = True
    model_name: str | None = None
    data_name: str | None = None
    on_noise: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"mode must be 'eval' or 'train', not {self.mode!r}")
        for name in ("max_samples", "batch_size"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InputError(f"{name} must be at least 1, not {value!r}")
        dim = self.sample_dim
        if dim is not None and not isinstance(dim, int) and dim != AUTOMATIC:
            raise InputError(f"sample_dim must be an axis, None or {AUTOMATIC!r}, not {dim!r}")
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

    @classmethod
    def of(cls, given: Mapping[str, Any], function: str, others: tuple[str, ...] = ()) -> Options:
        """The options that a call was given by name.

        Args:
            given: options of observation by name, without the names for reports.
            function: that was called, for the message.
            others: names of its other options.

        Raises:
            InputError: for a name that is no option; the message has the nearest that is one.
        """
        known = [field.name for field in fields(cls) if field.name not in INTERNAL]
        for name in given:
            if name not in known:
                raise InputError(
                    f"{function} has no option {named(name)}{did_you_mean(FORMER.get(name, name), [*others, *known])}"
                )
        return cls(**given)


INTERNAL = ("model_name", "data_name", "on_noise")
"""What only the command line says."""
FORMER = {"batch_dim": "sample_dim"}
"""What options were called."""
