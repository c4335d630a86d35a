"""A Lightning callback: `Trainer(callbacks=[leaky.integrations.lightning.Watch()])`."""

from __future__ import annotations

from typing import Any

from leaky.errors import MissingExtraError
from leaky.integrations.adapter import Adapter

try:
    from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError:
        raise MissingExtraError("leaky.integrations.lightning needs Lightning: pip install lightning") from None


class Watch(Callback):  # type: ignore[misc]
    """Watches the network that a LightningModule trains and logs its scalars beside the module's own.

    Evaluation, sanity checks included, is not watched. One picture of all layers goes to a TensorBoard logger when the
    training ends.

    Args:
        sites: True for scalars of each site too, or the names of those that are wanted.
        options: of `leaky.watch`: every, report_every, thresholds, …
    """

    def __init__(self, sites: bool | list[str] = False, **options: Any) -> None:
        super().__init__()
        self.adapter = Adapter(sites, **options)
        self._step = -1

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """The modules that `training_step` calls are looked for, and watched with the optimizer that trains each."""
        self._step = trainer.global_step
        self.adapter.start(pl_module, trainer.optimizers)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Lightning runs the pass inside the optimizer's step: that of the first one has begun before its watch."""
        self.adapter.begin_step()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A step is an optimizer step: batches whose gradients are accumulated are one."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        self.adapter.step()
        found = self.adapter.take()
        if found:
            pl_module.log_dict(found, on_step=True, on_epoch=False)
            self._log_texts(trainer)

    def _log_texts(self, trainer: Any) -> None:
        """Alarms go as text to a logger that takes text."""
        for text in self.adapter.texts():
            for logger in trainer.loggers:
                add = getattr(getattr(logger, "experiment", None), "add_text", None)
                if callable(add):
                    add("leaky/alarm", text, global_step=trainer.global_step)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """What is left is logged, with the picture."""
        self.adapter.stop()
        left = self.adapter.take()
        self._log_texts(trainer)
        for logger in trainer.loggers:
            if left:
                logger.log_metrics(left, step=trainer.global_step)
            add = getattr(getattr(logger, "experiment", None), "add_figure", None)
            if callable(add) and self.adapter.watches:
                add("leaky/layers", self.adapter.figure(), global_step=trainer.global_step)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """No hook is left behind."""
        self.adapter.stop()
