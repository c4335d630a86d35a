"""Models that change themselves, their data and the process; the core at its edges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

import leaky
from benchmarks.hostile.situation import Situation, survives
from leaky.errors import LeakyError


def situations() -> Iterator[Situation]:
    """What the tests of observation try, and the core."""
    for name in ("writes_weight", "writes_weight_data", "replaces_weight", "calls_backward", "sets_gradient",
                 "scales_gradient", "freezes", "registers_hook", "registers_buffer", "adds_module", "replaces_buffer",
                 "sets_dtype", "sets_threads", "ends_gradients", "registers_global_hook", "opens_mode"):  # fmt: skip
        yield Situation("the user's data", f"a model that {name.replace('_', ' ')}", _acting(name))
    for dtype in (np.float16, np.float32, np.float64, np.longdouble, np.int32, np.bool_, np.complex64, object, "S3"):
        for shape in ((), (0,), (1,), (3, 0, 2), (1025,), (7, 33)):
            yield Situation("the core", f"{np.dtype(dtype).name} of shape {shape}", _core(dtype, shape))


def _acting(name: str) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        from tests.observation import test_hostile_models as hostile
        from tests.observation.test_leaves_everything import everything

        model, data = hostile.Acting(getattr(hostile, name)), torch.randn(300, 4)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        before, around, untouched = everything(model), hostile.surroundings(), data.clone()
        leaky.observe(model, data)
        after = everything(model)
        changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
        assert not changed, changed
        assert hostile.surroundings() == around
        assert torch.equal(data, untouched)

    return run


def _core(dtype: object, shape: tuple[int, ...]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        x = np.ones(shape, dtype)  # type: ignore[call-overload]
        views = [x, x[..., ::-1] if x.ndim else x, np.broadcast_to(x, (2, *shape))]
        for view in views:
            survives(lambda view=view: _agrees(view))

    def _agrees(x: np.ndarray) -> None:
        y = leaky.leaky_relu(x, 0.1)
        if x.dtype.kind == "f" and x.dtype.itemsize <= 8:
            assert np.array_equal(y, np.where(x > 0, x, x.dtype.type(0.1) * x)), "another value"
            try:
                z = leaky.leaky_relu(-x, 0.1)
            except LeakyError as error:
                raise AssertionError(f"the sign decides: {error}") from error
            assert z.shape == x.shape

    return run
