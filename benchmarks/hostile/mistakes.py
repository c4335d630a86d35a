"""Mistakes in calls of the library, objectives that give anything, and contexts in which a model is looked at."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import leaky
from benchmarks.hostile.situation import Situation, one_line, survives

NAN, INF, HUGE = float("nan"), float("inf"), 10**30


def net() -> nn.Sequential:
    """A network with dead units."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].bias[:3] = -50
    return model


def noise() -> torch.Tensor:
    """What it takes."""
    return torch.randn(300, 4, generator=torch.Generator().manual_seed(1))


REFUSED: dict[str, Callable[[], Any]] = {
    **{f"check on {name}": lambda data=data: leaky.check(net(), data) for name, data in {
        "None": None, "a number": 3, "a text": "x", "bytes": b"x", "nothing": [], "an empty dict": {},
        "no samples": torch.zeros(0, 4), "texts": ["a", "b"],
        "a list of None": [None], "an exhausted iterator": iter(()), "an array of objects": np.array([{}, {}]),
    }.items()},
    **{f"check with {option}={value!r}"[:60]: lambda option=option, value=value: leaky.check(
        net(), noise(), **{option: value}
    ) for option, values in {
        "mode": ("", "test", None, 1), "seed": (-1, 2**64, "x", 1.5, NAN), "batch_size": (0, -1, "x", 1.5),
        "max_samples": (0, -1, "x"), "sample_dim": (99, "x", 1.5), "unit_dim": (99, "x"), "device": ("abacus", 5),
        "thresholds": ({"x": 1}, {"delta": NAN}, {"delta": "x"}, [1], 5), "loss": ("x", 5),
    }.items() for value in values},
    **{f"leaky_relu with {name}": lambda options=options: leaky.leaky_relu(np.ones(3, np.float32), **options)
       for name, options in {
        "slope nan": {"negative_slope": NAN}, "slope 'x'": {"negative_slope": "x"},
        "slope None": {"negative_slope": None}, "gain 0": {"gain": 0}, "gain nan": {"gain": NAN},
        "clamp -1": {"clamp": -1.0}, "clamp 'x'": {"clamp": "x"},
        "out of another size": {"out": np.ones(2, np.float32)},
        "out of another kind": {"out": np.ones(3)}, "out a list": {"out": [0, 0, 0]},
    }.items()},
    **{f"LeakyReLU with {name}": lambda options=options: leaky.LeakyReLU(**options) for name, options in {
        "slope 'x'": {"negative_slope": "x"}, "slope nan": {"negative_slope": NAN}, "clamp 0": {"clamp": 0},
        "channels without end": {"negative_slope": [], }, "gain inf": {"gain": INF},
    }.items()},
    **{f"prune {units!r}"[:60]: lambda units=units: leaky.prune(net(), noise(), units) for units in (
        {"nope": [0]}, {"1": [-1]}, {"1": ["x"]}, {"1": [0.5]}, {"1": 3}, 5,
    )},
    **{f"initialize with {option}={value!r}": lambda option=option, value=value: leaky.initialize(
        net(), noise(), **{option: value}
    ) for option, value in (("mode", "x"), ("seed", "x"), ("seed", -1), ("seed", 2**70), ("negative_slope", NAN),
                            ("negative_slope", "x"), ("include", ("nope",)))},
    **{f"calibrate on {name}": lambda data=data: leaky.calibrate(net(), data) for name, data in {
        "None": None, "nothing": [], "a text": "x", "nan": torch.full((9, 4), NAN),
    }.items()},
    **{f"repair with {name}": lambda options=options: leaky.repair(net(), noise(), **options) for name, options in {
        "slope nan": {"negative_slope": NAN}, "slope 2": {"negative_slope": 2}, "slope 'x'": {"negative_slope": "x"},
        "an unknown site": {"include": ("nope",)}, "seed 'x'": {"seed": "x"}, "seed -1": {"seed": -1},
    }.items()},
    **{f"apply_recipe {recipe!r}"[:60]: lambda recipe=recipe: leaky.apply_recipe(net(), recipe) for recipe in (
        5, None, {}, {"kind": "recipe"}, [], "absent.json", b"x",
    )},
    **{f"load {name!r}"[:60]: lambda name=name: leaky.load(name) for name in (
        5, None, "", "\0", "absent", b"absent", "x" * 5000,
    )},
    "compare numbers": lambda: leaky.compare(5, 6),
    "compare a checkup with a text": lambda: leaky.compare(leaky.check(net(), noise()), "x"),
    **{f"watch with {option}={value!r}": lambda option=option, value=value: leaky.watch(net(), **{option: value})
       for option, value in (("report_every", 0), ("report_every", -1), ("report_every", "x"), ("every", 0),
                             ("every", -1), ("every", NAN), ("optimizer", 5), ("thresholds", {"x": 1}))},
    **{f"tune with {option}={value!r}"[:60]: lambda option=option, value=value: leaky.tune(
        lambda slope, seed, report: slope, **{"slopes": [0.0, 0.1], "seeds": 2, "confirm": 0} | {option: value}
    ) for option, value in (
        ("slopes", []), ("slopes", [NAN]), ("slopes", ["relu7"]), ("slopes", [None]), ("slopes", 5), ("seeds", 0),
        ("seeds", -1), ("seeds", HUGE), ("seeds", "x"), ("confirm", -1), ("time_limit", NAN), ("time_limit", -1),
        ("time_limit", "x"), ("workers", 0), ("workers", -1), ("workers", "x"), ("storage", 5),
        ("storage", "/dev/full"),
        ("engine", "steam"), ("budget", "x"), ("worth", NAN), ("patience", NAN), ("study_name", 5),
    )},
    "tune a number": lambda: leaky.tune(5),
    "tune None": lambda: leaky.tune(None),
}  # fmt: skip
"""Calls that must be refused in one line."""


class Odd(float):
    """A number that does not want to be looked at."""

    def __repr__(self) -> str:
        raise ValueError("\x1b[31m")

    __str__ = __repr__


class NoNumber:
    """Says that it is a number and is none."""

    def __float__(self) -> float:
        raise ArithmeticError("\u202eno")


SCORES: dict[str, Any] = {
    "a numpy number": np.float32(0.5), "a tensor": torch.tensor(0.5),
    "a tensor with a gradient": torch.ones((), requires_grad=True),
    "a tensor of two": torch.ones(2), "an array of one": np.ones(1), "a truth": True, "a complex number": 1j,
    "None": None,
    "nan": NAN, "inf": INF, "a text": "0.5", "a list": [0.5], "1e308": 1e308, "a decimal": Decimal("0.5"),
    "a fraction": Fraction(1, 2), "an odd number": Odd(0.5), "no number": NoNumber(), "400 digits": 10**400,
    "a class": float,
}  # fmt: skip


def raising(error: BaseException) -> Callable[..., float]:
    """An objective that raises at one slope."""

    def objective(slope: float, seed: int, report: Any) -> float:
        if slope == 0.1:
            raise error
        return seed % 3 * 1e-3

    return objective


def giving(score: Any) -> Callable[..., Any]:
    """An objective that gives that at one slope."""
    return lambda slope, seed, report: score if slope == 0.1 else seed % 3 * 1e-3


def reporting(*values: Any) -> Callable[..., float]:
    """An objective that reports these at one slope."""

    def objective(slope: float, seed: int, report: Any) -> float:
        for value in values if slope == 0.1 else ():
            report(*value)
        return slope + seed % 3 * 1e-3

    return objective


OBJECTIVES: dict[str, Callable[..., Any]] = {
    **{f"gives {name}": giving(score) for name, score in SCORES.items()},
    **{f"raises {error!r}"[:60]: raising(error) for error in (
        SystemExit(0), GeneratorExit(), BaseException("x"), MemoryError(), RecursionError(), Exception("a\nb\x1b[31m"),
        StopIteration(), Exception("x" * 10**6), OSError(28, "x"),
    )},
    **{f"reports {name}": reporting(*values) for name, values in {
        "nan": ((0, NAN),), "texts": (("a", "b"),), "step -1": ((-1, 0.5),), "a step of 1e30": ((HUGE, 0.5),),
        "a step twice": ((1, 0.5), (1, 0.7)), "steps backwards": ((5, 0.5), (1, 0.7)), "None": ((None, None),),
        "1,000 steps": tuple((step, 0.5) for step in range(1000)), "inf": ((0, INF),), "400 digits": ((0, 10**400),),
    }.items()},
}  # fmt: skip
"""Studies that must come to an answer."""


@contextlib.contextmanager
def in_a_thread_with_a_mode() -> Iterator[None]:
    """Another thread holds a mode of torch meanwhile."""
    opened, over = threading.Event(), threading.Event()

    def holds() -> None:
        with torch.inference_mode(), torch.device("meta"):
            opened.set()
            over.wait(60)

    thread = threading.Thread(target=holds)
    thread.start()
    opened.wait(60)
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def default_dtype() -> Iterator[None]:
    """Tensors are made in double precision meanwhile."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


CONTEXTS: dict[str, Callable[[], Any]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "anomalies detected": torch.autograd.detect_anomaly,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "device meta": lambda: torch.device("meta"),
    "a default dtype": default_dtype,
    "another thread's modes": in_a_thread_with_a_mode,
    "saved tensors packed": lambda: torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x),
    "forked generators": torch.random.fork_rng,
    "deterministic numbers of numpy": lambda: np.errstate(all="raise"),
}
"""In which a check gives what it gives outside, or is refused."""


def situations() -> Iterator[Situation]:
    """All of them."""
    for name, act in REFUSED.items():
        yield Situation("arguments", name, lambda _, act=act: one_line(act))
    for name, objective in OBJECTIVES.items():
        yield Situation("studies", f"an objective that {name}", _answered(objective))
    for name, context in CONTEXTS.items():
        yield Situation("threads", f"check within {name}", _the_same(context))
    yield Situation("threads", "eight threads check one model", _in_threads(lambda model: model))
    yield Situation("threads", "eight threads check models that share a layer", _in_threads(_sharing))
    yield Situation("threads", "a check in a hook of a check", _nested)


def _answered(objective: Callable[..., Any]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        place = str(folder / "a.journal")
        study = leaky.tune(objective, slopes=[0.0, 0.1], seeds=3, confirm=0, storage=place)
        assert str(study)
        study.save(folder / "a.json")
        assert str(leaky.load(folder / "a.json")) == str(study)
        again = leaky.tune(objective, slopes=[0.0, 0.1], seeds=3, confirm=0, storage=place)
        assert len(again.trials) == len(study.trials), "it must resume"

    return run


def _figures(checkup: Any) -> Any:
    return [(site.name, site.samples, tuple(map(float, site.statistics.fired))) for site in checkup.record.sites]


def _the_same(context: Callable[[], Any]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        model, data = net(), noise()
        wanted = _figures(leaky.check(model, data, seed=0))

        def within() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of what anomaly detection costs
                with context():
                    found = leaky.check(model, data, seed=0)
            assert len(_figures(found)) == len(wanted)

        survives(within)
        assert _figures(leaky.check(model, data, seed=0)) == wanted

    return run


def _sharing(model: nn.Sequential) -> nn.Module:
    return nn.Sequential(model, nn.LeakyReLU(0.1))


def _in_threads(made: Callable[[nn.Sequential], nn.Module]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        model, data = net().train(), noise()
        wanted = _figures(leaky.check(made(model), data, seed=0))
        found: list[Any] = []
        threads = [
            threading.Thread(target=lambda: found.append(_figures(leaky.check(made(model), data, seed=0))))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert found == [wanted] * 8
        assert model.training

    return run


def _nested(folder: Path) -> None:
    model, data, found = net(), noise(), []

    def looks(*_: Any) -> None:
        if not found:
            found.append(0)
            survives(lambda: leaky.check(model, data, seed=0))

    handle = model[0].register_forward_hook(looks)
    survives(lambda: leaky.check(model, data, seed=0))
    handle.remove()
    assert found
