"""One network: faults planted, the truth told, ours and the others' verdicts held against it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

import leaky
from benchmarks.faults.kinds import Kind
from benchmarks.faults.networks import FAMILIES, Network
from benchmarks.faults.oracle import PRACTICALLY_ZERO, Mask, Response, examine, sample_losses
from benchmarks.faults.plants import plant
from benchmarks.faults.rivals import RIVALS
from benchmarks.faults.scores import Score

DELTA, RATE = 0.05, 0.01
BATCH = 256

EARLY = ", on too few samples"
"""Follows the name of a verdict that was given before there was evidence for it."""

LEAKING = ", leaking"
"""Follows the name of a plant that slope 0 would have made dead, and this slope did not."""


class PlantError(AssertionError):
    """A fault that did not come out as planted."""


class SiteError(AssertionError):
    """A place of a network that leaky does not see, or sees otherwise."""


@dataclass
class Outcome:
    """What one network, or several together, showed.

    Attributes:
        name: family and kind.
        units, samples: of the network; summed over several.
        ours: score of each verdict.
        rivals: score of each rival, against "dead" and against "dead or locked negative".
        blamed: how much of each unit of a plant each rule called dead, by rule and plant.
        shares: what each rival reports of a layer beside the layer's true share of dead units.
        truths: how many units each truth holds for.
        wrong: each wrong verdict of ours, in words.
    """

    name: str
    units: int = 0
    samples: int = 0
    ours: dict[str, Score] = field(default_factory=lambda: defaultdict(Score))
    rivals: dict[tuple[str, str], Score] = field(default_factory=lambda: defaultdict(Score))
    blamed: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    shares: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    truths: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def judged(self, verdict: str, called: Mask, true: Mask, where: str) -> None:
        """Score a verdict of ours on the units of one place."""
        self.ours[verdict].add(called, true)
        for unit in np.flatnonzero(called != true):
            self.wrong.append(f"{self.name}: {where}[{unit}] {'is not' if called[unit] else 'is'} {verdict}")


def samples_needed(units: int) -> int:
    """How many samples a verdict on U units takes: n ≥ ln(U/δ) ÷ −ln(1−p₀)."""
    return math.ceil(math.log(units / DELTA) / -math.log1p(-RATE))


def run(family: str, kind: Kind, seed: int) -> Outcome:
    """Build a network, plant faults into it, and score every verdict on every unit.

    Raises:
        PlantError: if a fault did not come out as planted.
        SiteError: if leaky does not see the places that there are.
    """
    torch.manual_seed(seed)
    network = FAMILIES[family](kind).double().eval()
    samples = samples_needed(network.units)
    data = network.inputs(samples, torch.Generator().manual_seed(seed))
    exact = tuple(x.double() for x in data)
    network.settle(exact)
    planted = plant(network, exact, seed)
    network.float().double()  # the weights that a user's float32 holds
    responses = examine(network, exact, seed)
    outcome = Outcome(f"{family}, {kind.name}", network.units, samples)
    for place in network.places:
        truths = responses[place.name].truths()
        outcome.truths.update({name: int(mask.sum()) for name, mask in truths.items()})
        check_plants(outcome.name, planted[place.name], truths, kind.slopes(place.units), place.name)
    theirs = network.as_users_have_it()
    _score_ours(outcome, theirs, data, responses, planted)
    _score_rivals(outcome, theirs, data, responses, planted)
    return outcome


def expected(name: str, slope: float) -> tuple[set[str], set[str]]:
    """Which truths must hold for a planted unit, and which must not."""
    flat = abs(slope) <= PRACTICALLY_ZERO
    alive = {"dead", "locked_negative", "locked_positive", "constant"}
    below = "dead" if flat else "locked_negative"
    return {
        "below": ({below, "silent"}, alive - {below}),
        "above": ({"locked_positive"}, {"dead", "silent"}),
        "beyond the cap": ({"dead"}, {"silent", "locked_negative", "locked_positive"}),
        "beyond the floor": ({"dead", "silent"}, {"locked_negative", "locked_positive"}),
        "nearly always beyond the cap": ({"nearly_dead"}, {*alive, "silent"}),
        "nearly dead": ({"nearly_dead"} if flat else set(), {*alive, "silent"}),
        "bursty": (set(), {*alive, "silent", "nearly_dead"}),
        "pixel-sparse": (set(), {*alive, "silent", "nearly_dead"}),
        "dormant": ({"dormant"}, {*alive, "silent"}),
        "constant": ({"constant"}, {"dead", "silent"}),
        "cut off": ({"cut_off"}, {*alive, "silent"}),
        "healthy": (set(), {*alive, "silent", "nearly_dead"}),
    }[name]


def check_plants(
    network: str, planted: dict[int, str], truths: dict[str, Mask], slopes: list[float], place: str
) -> None:
    """Hold every planted unit against the truth.

    Raises:
        PlantError: if one is not what was planted.
    """
    for unit, name in planted.items():
        holds, fails = expected(name, slopes[unit])
        for verdict in sorted(holds | fails):
            if truths[verdict][unit] != (verdict in holds):
                raise PlantError(
                    f"{network}: {place}[{unit}] was planted {name!r} and must {'' if verdict in holds else 'not '}be "
                    f"{verdict}"
                )


def _score_ours(
    outcome: Outcome,
    network: Network,
    data: tuple[Tensor, ...],
    responses: dict[str, Response],
    planted: dict[str, dict[int, str]],
) -> None:
    """The verdicts on all samples; and on half of them, where nothing may be called dead yet."""
    half = outcome.samples // 2
    whole, part = (_verdicts(network, data, responses, samples) for samples in (outcome.samples, half))
    for place in network.places:
        response, verdicts = responses[place.name], whole[place.name]
        truths = response.truths()
        for verdict in verdicts.keys() & truths.keys():
            outcome.judged(verdict, verdicts[verdict], truths[verdict], place.name)
        starved = response.starved()
        if starved is not None:
            outcome.judged("starved", verdicts["starved"], starved, place.name)
        _blame(outcome, "leaky", verdicts["dead"], planted[place.name], truths["dead"])
        early = response.truths(half)
        unproven = early["dead"] | early["locked_negative"]
        outcome.judged("unproven", part[place.name]["unproven"], unproven, place.name)
        for verdict in ("dead", "locked_negative", "locked_positive"):
            nothing = np.zeros(place.units, bool)
            outcome.judged(verdict + EARLY, part[place.name][verdict], nothing, place.name)


def _verdicts(
    network: Network, data: tuple[Tensor, ...], responses: dict[str, Response], samples: int
) -> dict[str, dict[str, Mask]]:
    """Ours, by place and verdict."""
    record = leaky.observe(
        network,
        list(batches(network, data, samples)),
        loss=lambda output, _: sample_losses(output).mean(),
        sample_dim=network.sample_dim,
    )
    diagnosis = leaky.diagnose(record)
    seen = [(site.units, site.samples) for site in record.sites]
    if seen != [(place.units, samples) for place in network.places] or record.not_examined:
        raise SiteError(f"{type(network).__name__} of {network.kind.name} was seen as {record.sites}")
    if diagnosis.samples_needed != samples_needed(network.units):
        raise SiteError(f"{diagnosis.samples_needed} samples are asked for, not {samples_needed(network.units)}")
    result = {}
    for place, site in zip(network.places, record.sites, strict=True):
        verdicts = vars(diagnosis.verdicts[site.name])
        result[place.name] = {name: np.isin(np.arange(place.units), units) for name, units in verdicts.items()}
    return result


def batches(network: Network, data: tuple[Tensor, ...], samples: int) -> Iterator[tuple[tuple[Tensor, ...]]]:
    """The first samples, in batches as leaky takes them: a tuple whose first item is the inputs."""
    for start in range(0, samples, BATCH):
        size = min(BATCH, samples - start)
        yield (tuple(x.narrow(network.sample_dim, start, size) for x in data),)


def _score_rivals(
    outcome: Outcome,
    network: Network,
    data: tuple[Tensor, ...],
    responses: dict[str, Response],
    planted: dict[str, dict[int, str]],
) -> None:
    network.tape.start(*(place.name for place in network.places))
    with torch.no_grad():
        network(*data)
    for place in network.places:
        h = network.tape.output(place.name)
        truths = responses[place.name].truths()
        dead, never = truths["dead"], truths["dead"] | truths["locked_negative"]
        for rival in RIVALS:
            called = rival.calls_dead(h).numpy()
            shape = (-1, 1) if called.ndim == 2 else (-1,)
            outcome.rivals[rival.name, "dead"].add(called, dead.reshape(shape))
            outcome.rivals[rival.name, "never fires"].add(called, never.reshape(shape))
            shares = called.reshape(place.units, -1).mean(axis=1)
            _blame(outcome, rival.name, shares, planted[place.name], dead)
            if rival.layer_share is not None:
                outcome.shares[rival.name].append((rival.layer_share(h), float(dead.mean())))
    network.tape.start()


def _blame(outcome: Outcome, rule: str, called: ArrayLike, planted: dict[int, str], dead: Mask) -> None:
    """Note how much of each planted unit a rule called dead: 0 or 1, or the share of its pixels."""
    shares = np.asarray(called, np.float64)
    for unit, name in planted.items():
        key = name + LEAKING if name == "below" and not dead[unit] else name
        outcome.blamed[rule, key].append(float(shares[unit]))
