"""Ray tasks that work on one study, on a cluster or on this machine.

Each task runs the same loop on the same storage as a process would. Ray starts a task again whose worker died; what
that worker was training comes free in the storage.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from typing import Any

from leaky.errors import InputError, MissingExtraError
from leaky.tuning.engines.engine import Engine
from leaky.tuning.running.processes import StudyLocation
from leaky.tuning.running.worker import POLL, Design, Progress, work

END = 10.0
"""Seconds that interrupted tasks have to give back what they were training."""


def work_in_ray(
    count: int, place: StudyLocation, design: Design, engine: Engine, left: float | None, progress: Progress | None
) -> None:
    """Run the loop in `count` Ray tasks until the study is over.

    Args:
        count: tasks, each on one of the cluster's processors.
        place: of a storage that every machine of the cluster can open.
        design: as in `work`.
        engine: as in `work`, and picklable for Ray.
        left: seconds after which no training begins.
        progress: called in this process.

    Raises:
        MissingExtraError: if Ray is not installed.
        KeyboardInterrupt: as it came; the tasks have given back what they were training.
    """
    ray = _ray()
    started = not ray.is_initialized()
    if started:
        settings: dict[str, Any] = (
            {} if "RAY_ADDRESS" in os.environ else {"num_cpus": count, "include_dashboard": False}
        )
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **settings)
    try:
        _run(ray, count, place, design, engine, left, progress)
    finally:
        if started:
            ray.shutdown()


def must_be_shared(storage: str | None) -> None:
    """Refuse a study without a storage on a cluster that may have other machines.

    Raises:
        InputError: if there is none.
    """
    if storage is None and ("RAY_ADDRESS" in os.environ or _ray().is_initialized()):
        raise InputError(
            "engine 'ray' on a cluster must have a storage that all its machines can open: "
            "a file that they share, or a URL of Optuna's"
        )


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("engine 'ray' needs ray: pip install 'leaky[tune,ray]'") from error
    return ray


def _run(
    ray: Any,
    count: int,
    place: StudyLocation,
    design: Design,
    engine: Engine,
    left: float | None,
    progress: Progress | None,
) -> None:
    task = ray.remote(num_cpus=1, max_retries=-1)(_loop)
    running = [task.remote(place, design, engine, left) for _ in range(count)]
    store, told = place.open(design), -1
    try:
        while running:
            done, running = ray.wait(running, timeout=POLL)
            ray.get(done)
            trials = store.trials()
            if progress is not None and len(trials) != told:
                told = len(trials)
                study = design.study(trials, engine=engine.description)
                progress(study, design.next(study)[1].left)
    except BaseException:
        for reference in running:
            with suppress(Exception):
                ray.cancel(reference)
        with suppress(Exception):
            ray.wait(running, num_returns=len(running), timeout=END)
        raise


def _loop(place: StudyLocation, design: Design, engine: Engine, left: float | None) -> None:
    try:
        import torch

        torch.set_num_threads(1)
    except ImportError:
        pass
    began = time.monotonic()
    work(design, place.open(design), engine, lambda: left is not None and time.monotonic() - began >= left)
