"""A skorch callback: `NeuralNetClassifier(…, callbacks=[leaky.integrations.skorch.Watch()])`."""

from __future__ import annotations

from typing import Any

from leaky.errors import MissingExtraError
from leaky.integrations.adapter import Adapter

try:
    from skorch.callbacks import Callback
except ImportError:
    raise MissingExtraError("leaky.integrations.skorch needs skorch: pip install skorch") from None


class Watch(Callback):  # type: ignore[misc]
    """Watches the module of a skorch net; its scalars are in `net.history`, an epoch a row.

    Args:
        sites: True for scalars of each site too, or the names of those that are wanted.
        options: of `leaky.watch`: every, report_every, thresholds, …
    """

    def __init__(self, sites: bool | list[str] = False, **options: Any) -> None:
        self.sites = sites
        self.options = options
        self.adapter = Adapter(sites, **options)

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:  # noqa: N803
        """The module is watched from its first step on."""
        self.adapter.start(net.module_, [getattr(net, "optimizer_", None)])

    def on_grad_computed(self, net: Any, named_parameters: Any, batch: Any = None, **_: Any) -> None:
        """Skorch runs the pass inside the optimizer's step: that of the first one has begun before its watch."""
        self.adapter.begin_step()

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, **_: Any) -> None:
        """A step is over; batches of the validation are none."""
        if training:
            self.adapter.step()

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """The scalars go into the row of the epoch."""
        for name, value in self.adapter.pending.items():
            net.history.record(name, value)
        texts = self.adapter.texts()
        if texts:
            net.history.record("leaky/alarm_texts", texts)

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:  # noqa: N803
        """Every hook goes."""
        self.adapter.stop()
