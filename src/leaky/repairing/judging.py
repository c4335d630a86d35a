"""What is kept on a metric alone, or on nothing but the outputs, where no piece of training can decide.

A metric that does not move, or that is at chance, neither approves nor vetoes: then what moves nothing may be done, or
the gentlest treatment of a network that has nothing to lose. A network is never thrown away on a metric alone.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from leaky.repairing.entering import LUCKY, THROWS_AWAY, at_least_chance, at_most_chance
from leaky.repairing.outcome import TreatmentResult, Verdict
from leaky.repairing.plan import FORGOTTEN, Action, Plan, Treatment

NEWBORN = 3
"""Networks with new weights that one is compared with which has perhaps learned nothing."""

MORE = 12
"""Further ones before a change is approved of a network that stands where they do: three that score alike say little
of how far luck reaches."""

BEYOND = 0.25
"""By what part of what the best of so many is above their median luck reaches above it: of normal scores to 2.2 σ."""

WEAK = 0.1
"""By what part of the best gain a gentler treatment may be worse than the best."""

UNLIKELY = 3 * LUCKY
"""Ranges of three new networks above the best from which on no further ones are looked at: three may be much alike."""

Results = tuple[TreatmentResult, ...]


@dataclass(frozen=True, eq=False)
class Bench:
    """What a judgement may do: carry out a treatment, look, and put the model back.

    Attributes:
        do: carries out actions.
        put_back: brings the model to where it was.
        measure: the user's metric.
        score: a metric with more being better; −inf for what is no number.
        newborn: the score of a network that begins anew with this seed; the model is put back.
        alive: whether the outputs are finite and tell inputs apart.
        sound: whether they do, and fewer units are in trouble than at first.
        usual: whether the pre-activations have a usual size.
        moved: the relative change of the outputs since the start.
        born_so: whether a network with new weights has half as many units in trouble or more.
    """

    do: Callable[[tuple[Action, ...]], object]
    put_back: Callable[[], None]
    measure: Callable[[], float]
    score: Callable[[float], float]
    newborn: Callable[[int], float]
    alive: Callable[[], bool]
    sound: Callable[[], bool]
    usual: Callable[[], bool]
    moved: Callable[[], float]
    born_so: Callable[[], bool]

    def helped(self, treatment: Treatment) -> bool:
        """Whether units came back by what was done; weights that were blown up or shrunk are no start to go on from.

        A new network may have as many units in trouble as new ones have.
        """
        return self.alive() if treatment.name == THROWS_AWAY else self.sound() and self.usual()


@dataclass(frozen=True)
class Decision:
    """What to do, and why; the model is left with it done."""

    treatment: Treatment | None
    verdict: Verdict
    reason: str
    results: Results = ()


def judged(plan: Plan, bench: Bench, start: float | None, tolerance: float, max_change: float) -> Decision:
    """Choose between the treatments of a plan without training; what is chosen has been done to the model."""
    if start is None:
        return _without_a_metric(plan, bench, max_change)
    before, shown = bench.score(start), start
    if plan.training_decides:
        words = f"only training can tell what helps ({plan.doubt}); give train= to let an experiment decide"
        return Decision(None, "left", words)
    chance = _at_chance(plan, bench, before, tolerance)
    results: list[TreatmentResult] = []
    scores: dict[str, float] = {}
    for treatment in plan.treatments:
        if treatment.name == THROWS_AWAY:
            continue
        bench.do(treatment.actions)
        metric = bench.measure()
        # outputs that are the same for all inputs are worth nothing, however well they score
        worth = plan.nothing_to_lose is None or bench.alive()
        scores[treatment.name] = bench.score(metric) if worth else -math.inf
        results.append(TreatmentResult(treatment.name, metric, metric))
        bench.put_back()
    best = max(scores.values(), default=-math.inf)
    base = before if chance is None else _reach(plan, chance)
    if chance is not None and len(chance) == NEWBORN and base + tolerance < best and not _blown_up(plan):
        chance += _more(bench)
        base = _reach(plan, chance)
    if best > base + tolerance:
        enough = best - max(tolerance, WEAK * (best - base) if math.isfinite(base) else 0.0)
        chosen = next(t for t in plan.treatments if scores.get(t.name, -math.inf) >= enough)
        bench.do(chosen.actions)
        after = next(result.after for result in results if result.name == chosen.name)
        words = f"{chosen.name}: validation went from {shown:.6g} to {after:.6g}"
        return Decision(chosen, "kept", words, tuple(results))
    if chance is not None:
        return _at_a_loss(plan, bench, (shown, *chance), scores, tolerance, tuple(results))
    return _no_better(plan, bench, shown, scores, before - tolerance, tuple(results))


def _blown_up(plan: Plan) -> bool:
    return any(treatment.name == "rescaled" for treatment in plan.treatments)


def ranges_of(plan: Plan) -> float:
    """How far above new networks chance reaches."""
    return LUCKY if _blown_up(plan) else 1.0


def _at_chance(plan: Plan, bench: Bench, score: float, tolerance: float) -> list[float] | None:
    """The scores of networks that have learned nothing, where this one's may be of them; None where it is better."""
    if not math.isfinite(score):
        return [-math.inf]
    newborn = [bench.newborn(seed) for seed in range(NEWBORN)]
    if _reach(plan, newborn) + tolerance < score <= _luck(newborn) + tolerance and not _blown_up(plan):
        newborn += _more(bench)
    return newborn if plan.nothing_to_lose is not None or score <= _reach(plan, newborn) + tolerance else None


def _reach(plan: Plan, newborn: Sequence[float]) -> float:
    """The score up to which luck reaches."""
    if len(newborn) <= NEWBORN:
        return at_most_chance(newborn, ranges_of(plan))
    finite = [score for score in newborn if math.isfinite(score)]
    best = max(finite, default=-math.inf)
    return best + BEYOND * (best - statistics.median(finite)) if finite else best


def _luck(newborn: Sequence[float]) -> float:
    """How far above a few new networks one of many might stand: where all scored alike, nobody knows."""
    few = [score for score in newborn if math.isfinite(score)]
    return at_most_chance(few, UNLIKELY) if len(set(few)) > 1 else math.inf


def _more(bench: Bench) -> list[float]:
    return [bench.newborn(seed) for seed in range(NEWBORN, NEWBORN + MORE)]


def _no_better(
    plan: Plan, bench: Bench, shown: float, scores: dict[str, float], enough: float, results: Results
) -> Decision:
    """The metric means something and none is better: only what moves nothing may be done."""
    for treatment in plan.treatments:
        if (
            treatment.name == plan.planned
            and treatment.keeps_function
            and scores.get(treatment.name, -math.inf) >= enough
        ):
            bench.do(treatment.actions)
            words = f"{treatment.name}: it moves nothing, and validation {shown:.6g} does not judge it"
            return Decision(treatment, "not judged", words, results)
    tried = "none of the treatments is better by the metric alone" if results else "a metric alone cannot tell"
    return Decision(None, "left", f"{tried} (validation {shown:.6g}); give train= to let an experiment decide", results)


def _at_a_loss(
    plan: Plan,
    bench: Bench,
    known: Sequence[float],
    scores: dict[str, float],
    tolerance: float,
    results: Results,
) -> Decision:
    """The metric is at chance: the gentlest treatment that brings units back, and is no worse than any new network.

    Units of which a new network has half as many in trouble are no damage that could be undone: nothing is done about
    them unseen. Where there is nothing to lose, and nothing gentler brings units back, the network begins anew. It does
    so at once where its weights are of no usual size and their directions, scaled back, say no more than a new
    network's, or where its units, shifted back, say less. A metric that does not move says neither. Layers that begin
    anew say nothing until they are trained.

    `known` has what the user's metric says of the model, and the scores of new networks.
    """
    shown, *chance = known
    worst, moves = at_least_chance(chance) - tolerance, len({bench.score(shown), *chance}) > 1
    spoiled = moves and (_blown_up(plan) or -math.inf < scores.get("shifted", math.inf) < worst)
    lost = spoiled or plan.nothing_to_lose is not None
    if not lost and bench.born_so():
        words = f"validation {shown:.6g} is that of a network that has learned nothing, and new ones have units"
        return Decision(None, "left", f"{words} in trouble like it; give train= to let an experiment decide", results)
    unsaid = {"layers anew"} if moves else {"layers anew", "rescaled"}
    gentle = [treatment for treatment in plan.treatments if treatment.name not in unsaid]
    for treatment in sorted(gentle, key=lambda treatment: spoiled and treatment.name != THROWS_AWAY):
        throws_away = treatment.name == THROWS_AWAY
        if not lost if throws_away else not scores.get(treatment.name, -math.inf) >= worst:
            continue
        bench.do(treatment.actions)
        if bench.helped(treatment):
            words = (
                f"{treatment.name}: validation {shown:.6g} is that of a network that has learned nothing, so it judges"
            )
            why = "nothing of what it had learned is lost" if throws_away else "fewer units are in trouble"
            return Decision(treatment, "not judged", f"{words} nothing; {why}", results)
        bench.put_back()
    low = all(scores.get(treatment.name, -math.inf) < worst for treatment in gentle)
    if bench.score(shown) < worst and low and math.isfinite(worst):
        for treatment in plan.treatments:
            if treatment.name == THROWS_AWAY:
                bench.do(treatment.actions)
                words = f"{treatment.name}: validation {shown:.6g} is worse than that of every new network, and nothing"
                return Decision(treatment, "kept", f"{words} gentler brings it up to that", results)
    words = f"validation {shown:.6g} is that of a network that has learned nothing, so it judges nothing"
    for treatment in plan.treatments:
        if treatment.name == FORGOTTEN:
            bench.do(treatment.actions)
            return Decision(treatment, "not judged", f"{treatment.name}: it moves nothing, and {words}", results)
    return Decision(None, "left", f"{words}; give train= to let an experiment decide", results)


def _without_a_metric(plan: Plan, bench: Bench, max_change: float) -> Decision:
    if plan.nothing_to_lose is not None:
        for treatment in plan.treatments:
            bench.do(treatment.actions)
            if bench.helped(treatment):
                words = f"{treatment.name}: {plan.nothing_to_lose}, so nothing is lost; now they tell inputs apart"
                return Decision(treatment, "not judged", words)
            bench.put_back()
        return Decision(None, "rolled back", f"{plan.nothing_to_lose}, and nothing that was tried changes that")
    planned = [treatment for treatment in plan.treatments if treatment.name == plan.planned]
    for treatment in planned:
        bench.do(treatment.actions)
        change = bench.moved()
        words = f"the outputs changed by {change:.3g} of their size (at most {max_change:g} is kept)"
        if change <= max_change:
            return Decision(treatment, "not judged", words)
        bench.put_back()
        return Decision(None, "rolled back", words)
    return Decision(None, "left", f"nothing was done without evidence: {_why(plan.treatments)}")


def _why(treatments: Sequence[Treatment]) -> str:
    names = ", ".join(treatment.name for treatment in treatments)
    return f"give validate= or train= to try what would move the outputs ({names})"
