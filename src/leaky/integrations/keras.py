"""A Keras callback, for Keras 3 on torch: `model.fit(…, callbacks=[leaky.integrations.keras.Watch()])`."""

from __future__ import annotations

from typing import Any

from leaky.errors import InputError, MissingExtraError
from leaky.integrations.adapter import Adapter

try:
    import keras
except ImportError:
    raise MissingExtraError("leaky.integrations.keras needs Keras 3: pip install keras") from None


class Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Watches a Keras model that trains on torch; its scalars are in the logs of each epoch.

    Args:
        sites: True for scalars of each site too, or the names of those that are wanted.
        options: of `leaky.watch`: every, report_every, thresholds, …

    Raises:
        InputError: if Keras runs on something else than torch.
    """

    def __init__(self, sites: bool | list[str] = False, **options: Any) -> None:
        super().__init__()
        if keras.backend.backend() != "torch":
            raise InputError(
                f"leaky.integrations.keras needs Keras on torch (KERAS_BACKEND=torch), not {keras.backend.backend()!r}"
            )
        self.adapter = Adapter(sites, **options)

    def on_train_begin(self, logs: Any = None) -> None:
        """The model is watched from its first step on."""
        self.adapter.start(self.model)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """A step is over."""
        self.adapter.step()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """The scalars join the logs: put leaky's callback in front of the one that writes them."""
        if logs is not None:
            logs.update(self.adapter.pending)

    def on_train_end(self, logs: Any = None) -> None:
        """Every hook goes."""
        self.adapter.stop()
