"""A stable-baselines3 callback: `model.learn(…, callback=leaky.integrations.stable_baselines3.Watch())`."""

from __future__ import annotations

from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook

from leaky.errors import MissingExtraError
from leaky.integrations.adapter import Adapter

try:
    from stable_baselines3.common.callbacks import BaseCallback
except ImportError:
    raise MissingExtraError("leaky.integrations.stable_baselines3 needs it: pip install stable-baselines3") from None


class Watch(BaseCallback):  # type: ignore[misc]
    """Watches the networks that an agent trains; its scalars go to the agent's own logger.

    What an agent calls while it collects experience is in eval mode and is not watched. A step is a step of the first
    of the agent's optimizers.

    Args:
        sites: True for scalars of each site too, or the names of those that are wanted.
        options: of `leaky.watch`: every, report_every, thresholds, …
    """

    def __init__(self, sites: bool | list[str] = False, **options: Any) -> None:
        super().__init__()
        self.adapter = Adapter(sites, **options)
        self._handle: Any = None

    def _on_training_start(self) -> None:
        policy = self.model.policy
        found = (getattr(place, "optimizer", None) for place in (policy, *policy.children()))
        first, *rest = (each for each in found if each is not None)
        self.adapter.start(policy, [first, *rest])

        def stepped(optimizer: Any, *_: Any) -> None:
            if optimizer is first:
                self._stepped()

        # a hook of all optimizers: by then the first one's own have run, and the watch may add its own to them
        self._handle = register_optimizer_step_post_hook(stepped)

    def _stepped(self) -> None:
        self.adapter.step()
        for name, value in self.adapter.take().items():
            self.logger.record(name, value)
        for text in self.adapter.texts():
            self.logger.record("leaky/alarm", text, exclude=("csv",))

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
        self.adapter.stop()
