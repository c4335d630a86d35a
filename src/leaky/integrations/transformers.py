"""A callback of the Hugging Face Trainer: `Trainer(…, callbacks=[leaky.integrations.transformers.Watch()])`."""

from __future__ import annotations

import sys
from typing import Any

from leaky.errors import MissingExtraError
from leaky.integrations.adapter import Adapter

try:
    from transformers.trainer_callback import CallbackHandler, TrainerCallback
except ImportError:
    raise MissingExtraError("leaky.integrations.transformers needs it: pip install transformers") from None


class Watch(TrainerCallback):  # type: ignore[misc]
    """Watches the model that a Trainer trains; its scalars are in the logs that the trainer reports.

    Args:
        sites: True for scalars of each site too, or the names of those that are wanted.
        options: of `leaky.watch`: every, report_every, thresholds, …
    """

    def __init__(self, sites: bool | list[str] = False, **options: Any) -> None:
        self.adapter = Adapter(sites, **options)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **rest: Any) -> None:
        """The model is watched from its first step on."""
        self._go_first()
        self.adapter.start(model, [rest.get("optimizer")])

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """An optimizer step is over, whatever was accumulated for it."""
        self.adapter.step()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """The scalars join the trainer's own, before any reporter has sent them."""
        if logs is not None and "loss" in logs and self.adapter.pending:
            new = self.adapter.take()
            logs.update(new)
            if state.log_history:
                state.log_history[-1].update(new)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Every hook goes."""
        self.adapter.stop()

    def _go_first(self) -> None:
        """Move to the front of the callbacks: the trainer puts its reporters before those of the user.

        The trainer hands no callback the list that it is in; the one that is calling is found on the stack.
        """
        frame = sys._getframe(1)
        while frame is not None:
            handler = frame.f_locals.get("self")
            if isinstance(handler, CallbackHandler) and self in handler.callbacks:
                handler.callbacks.remove(self)
                handler.callbacks.insert(0, self)
                return
            frame = frame.f_back  # type: ignore[assignment]
