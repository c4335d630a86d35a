"""The verdict: exact where mathematics knows the answer, and wrong in at most 5% of simulated studies."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaky.errors import InputError
from leaky.tuning.scheduling import Budget, next_trainings
from leaky.tuning.statistics import boundaries as critical
from leaky.tuning.statistics.answering import BETTER, EQUAL, UNDECIDED, Answer, answer
from leaky.tuning.statistics.boundaries import BLOCKS, ERROR, fixed_boundary, sequential_boundary
from leaky.tuning.statistics.judging import FAILED, FloatArray, difference, finite, judge


@pytest.mark.parametrize(("seeds", "quantile"), [(3, 4.3027), (5, 2.7764), (10, 2.2622), (20, 2.0930)])
def test_two_arms_and_one_look_are_the_paired_t_test(seeds: int, quantile: float) -> None:
    assert fixed_boundary(2, seeds) == pytest.approx(quantile, rel=0.06)


def test_the_error_of_all_blocks_together_is_at_most_5_percent() -> None:
    assert sum(error for _, _, error in BLOCKS) <= ERROR
    assert all(last + 1 == first for (_, last, _), (first, _, _) in itertools.pairwise(BLOCKS))


def test_kept_boundaries_are_what_a_simulation_gives() -> None:
    assert critical.kept_boundaries("sequential", 5)
    first = critical.block_boundary(5, *BLOCKS[0])
    assert critical.kept_boundaries("sequential", 5)[: len(first)] == pytest.approx(list(first), abs=6e-4)
    assert critical.kept_boundaries("fixed", 5)[2] == pytest.approx(
        critical.block_boundary(5, 5, 5, ERROR)[0], abs=6e-4
    )


def test_what_is_not_kept_is_simulated() -> None:
    assert not critical.kept_boundaries("fixed", 12)
    assert fixed_boundary(10, 5) < fixed_boundary(12, 5) < 1.2 * fixed_boundary(10, 5)


@pytest.mark.parametrize("arms", [2, 8])
def test_looking_at_every_moment_costs_something(arms: int) -> None:
    assert all(sequential_boundary(arms, seeds) > fixed_boundary(arms, seeds) for seeds in (3, 5, 10, 20))
    assert sequential_boundary(arms, 2) == sequential_boundary(arms, 10**6) == np.inf


def studies(kind: str, count: int, arms: int = 5, seeds: int = 10) -> FloatArray:
    random = np.random.default_rng(5)
    shape = (count, arms, seeds)
    noise = random.standard_t(2, shape) if kind == "heavy" else random.standard_normal(shape)
    if kind == "uneven":
        noise[:, 0] *= 5
    if kind == "rounded":
        noise = np.round(noise)
    if kind == "failing":
        noise[random.random(shape) < 0.1] = FAILED
    return np.asarray(noise)


@pytest.mark.parametrize("kind", ["normal", "heavy", "uneven", "rounded", "failing"])
def test_equal_slopes_are_called_different_in_at_most_5_percent_even_at_the_worst_moment(kind: str) -> None:
    count = 400
    wrong = sum(bool(judge(scores).eliminations) for scores in studies(kind, count))
    assert wrong / count <= ERROR + 3 * np.sqrt(ERROR * (1 - ERROR) / count)


def test_a_simulation_can_find_a_verdict_that_errs() -> None:
    scores = studies("normal", 100)
    scores[:, 0] += 3
    assert all(judge(each).eliminations for each in scores)


def shifted(gap: float = 3.0, seeds: int = 8) -> FloatArray:
    random = np.random.default_rng(3)
    return random.standard_normal((4, seeds)) + gap * np.arange(4)[:, None] + 10 * random.standard_normal(seeds)


def test_the_best_is_found_under_noise_that_all_share() -> None:
    found = judge(shifted())
    assert found.best_set == (3,)
    assert found.ranking[0] == 3
    assert {out.arm for out in found.eliminations} == {0, 1, 2}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 7))
def test_an_arm_that_is_out_stays_out(seed: int, first: int) -> None:
    scores = np.random.default_rng(seed).standard_normal((4, 8)) + 2 * np.arange(4)[:, None]
    some = np.where(np.arange(8) < first, scores, np.nan)
    earlier = judge(some)
    assert set(judge(scores).best_set) <= set(earlier.best_set)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100), st.floats(-50, 50))
def test_the_unit_of_the_score_does_not_matter(seed: int, scale: float, shift: float) -> None:
    scores = np.random.default_rng(seed).standard_normal((4, 6)) + np.arange(4)[:, None]
    assert judge(scores).best_set == judge(scale * scores + shift).best_set


def test_three_equal_differences_of_a_coarse_score_are_no_certainty() -> None:
    scores = np.array([[0.90, 0.92, 0.91], [0.91, 0.93, 0.92]])
    assert judge(scores).best_set == (0, 1)


def test_identical_arms_are_equal() -> None:
    assert judge(np.ones((3, 6))).best_set == (0, 1, 2)


def test_an_arm_that_always_fails_is_out_and_failures_count_as_worse_than_the_worst() -> None:
    scores = np.random.default_rng(0).standard_normal((3, 6))
    scores[1] = FAILED
    found = judge(scores)
    assert found.best_set == (0, 2)
    assert finite(scores)[1].max() < finite(scores)[[0, 2]].min()


def test_unfinished_seeds_are_left_out_of_the_pairs() -> None:
    scores = shifted()
    scores[3, 5:] = np.nan
    assert difference(scores, 3, 2).seeds == 5
    scores[3, 0] = np.nan
    assert difference(scores, 3, 2).seeds == 0


def test_a_difference_is_the_mean_of_the_pairs_within_its_interval_and_odd() -> None:
    scores = shifted(1.0)
    found, back = difference(scores, 3, 0), difference(scores, 0, 3)
    assert found.estimate == pytest.approx((scores[3] - scores[0]).mean())
    assert found.low < found.estimate < found.high
    assert (back.estimate, back.low, back.high) == pytest.approx((-found.estimate, -found.high, -found.low))


def test_a_fixed_study_says_nothing_before_its_end() -> None:
    scores = shifted()
    scores[2, 7] = np.nan
    assert judge(scores, fixed_seeds=8).best_set == (0, 1, 2, 3)
    gap = difference(scores, 3, 0, fixed_seeds=8)
    assert (gap.low, gap.high) == (-math.inf, math.inf)
    assert judge(shifted(), fixed_seeds=8).best_set == (3,)


def test_the_smallest_detectable_effect_would_be_detected_in_about_4_of_5_studies() -> None:
    random = np.random.default_rng(1)
    noise = random.standard_normal((300, 2, 10))
    effect = float(np.mean([judge(each, fixed_seeds=10).smallest_detectable for each in noise if _both(each)]))
    detected = np.mean([len(judge(each + np.array([[0.0], [effect]]), fixed_seeds=10).best_set) == 1 for each in noise])
    assert 0.7 < detected < 0.92


def _both(scores: FloatArray) -> bool:
    return len(judge(scores, fixed_seeds=10).best_set) == 2


def raced(scores: FloatArray, budget: Budget, worth: float = 0.01) -> tuple[FloatArray, str]:
    seen = np.full((len(scores), budget.most_seeds), np.nan)
    while True:
        judgement = judge(seen, budget.fixed_seeds)
        now = answer(seen, judgement, 0, worth, budget.fixed_seeds)
        step = next_trainings(seen, judgement, budget, now)
        if not step.cells:
            return seen, step.ended
        arm, seed = step.cells[0]
        seen[arm, seed] = scores[arm, seed]


def test_a_race_drops_what_cannot_win_and_spends_no_more_than_its_budget() -> None:
    budget = Budget(6)
    seen, ended = raced(shifted(0.0, 24) + np.array([[0.0], [0.0], [20.0], [25.0]]), budget)
    trained = (~np.isnan(seen)).sum(axis=1)
    assert trained[0] < trained[3]
    assert trained.sum() <= 4 * 6
    assert ended


def test_a_race_ends_early_when_one_is_left_or_nothing_could_be_told() -> None:
    clear, why = raced(shifted(50.0, 24), Budget(6))
    assert ((~np.isnan(clear)).sum(), why) == (12, "one slope is better than all others")
    equal, why = raced(np.random.default_rng(2).standard_normal((4, 80)), Budget(20))
    assert (~np.isnan(equal)).sum() < 60
    assert "an answer would take far more" in why


def test_a_fixed_budget_is_spent_to_the_last_training() -> None:
    seen, ended = raced(shifted(50.0, 6), Budget(6, "fixed"))
    assert not np.isnan(seen).any()
    assert ended == "every slope has its seeds"


@pytest.mark.parametrize(("seeds", "mode", "words"), [(0, "fixed", "at least 1, not 0"), (5, "lucky", "one of")])
def test_a_wrong_budget_is_refused(seeds: int, mode: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Budget(seeds, mode)


def answered(scores: FloatArray, worth: float, reference: int = 0) -> Answer:
    return answer(scores, judge(scores), reference, worth)


def test_a_large_difference_is_better_by_at_least_the_lower_end_of_its_interval() -> None:
    found = answered(shifted(3.0, 12), worth=0.1)
    assert (found.kind, found.arm) == (BETTER, 3)
    assert 0 < found.at_least <= 9.0 + 1e-9
    assert found.more_trainings == 0


def test_a_difference_that_was_not_detected_is_not_equality() -> None:
    scores = np.random.default_rng(7).standard_normal((3, 6))
    few = answered(scores, worth=0.5)
    assert few.kind == UNDECIDED
    assert few.more_trainings is not None
    assert few.more_trainings > 100
    assert answered(scores, worth=20.0).kind == EQUAL


def test_the_projection_is_what_it_then_takes() -> None:
    random = np.random.default_rng(11)
    scores = 1.0 + random.standard_normal((2, 160)) * 0.1
    early = answered(np.where(np.arange(160) < 12, scores, np.nan), worth=0.1)
    took = next(n for n in range(12, 161) if answered(scores[:, :n], 0.1).kind != UNDECIDED)
    assert early.more_trainings is not None
    assert 0.3 < early.more_trainings / (2 * (took - 12)) < 3


def test_a_slope_that_is_worse_than_the_simplest_leaves_it_decided() -> None:
    random = np.random.default_rng(4)
    scores = 0.01 * random.standard_normal((3, 10)) + np.array([[1.0], [1.0], [0.0]])
    assert answered(scores, worth=0.1).kind == EQUAL


@pytest.mark.parametrize("kind", ["normal", "heavy", "uneven", "failing"])
def test_answers_are_wrong_in_at_most_5_percent_of_studies_even_at_the_worst_moment(kind: str) -> None:
    count, worth = 120, 1.0
    noise = 0.5 * studies(kind, count, arms=4, seeds=24)
    noise[:, 3] += 1.3  # better than the simplest by more than matters
    wrong = 0
    for scores in noise:
        seen = [answered(scores[:, :n], worth) for n in (3, 5, 8, 12, 24)]
        wrong += any(each.kind == EQUAL or each.at_least > 1.3 for each in seen)
    assert wrong / count <= ERROR + 3 * np.sqrt(ERROR * (1 - ERROR) / count)


@pytest.mark.parametrize(("ahead", "goes_on"), [(50.0, True), (-50.0, False)])
def test_a_study_is_not_given_up_while_the_leader_is_ahead_by_more_than_matters(ahead: float, goes_on: bool) -> None:
    scores = np.full((2, 160), np.nan)
    scores[:, :4] = 100 * np.random.default_rng(0).standard_normal((2, 4))
    scores[1, :4] += scores[0, :4].mean() - scores[1, :4].mean() + ahead
    now = Answer(UNDECIDED, 0, 0.01, None, 0.0, 9.0, (1,), 10**6)
    assert bool(next_trainings(scores, judge(scores), Budget(4, patience=1e4), now, seconds=8.0).cells) == goes_on


def test_patience_pays_for_the_reference_and_the_open_slopes_alone() -> None:
    scores = np.full((3, 160), np.nan)
    scores[:, :4] = np.random.default_rng(1).standard_normal((3, 4))
    now = Answer(UNDECIDED, 0, 0.5, None, 0.0, 9.0, (2,), 40)
    step = next_trainings(scores, judge(scores), Budget(4, patience=100.0), now, seconds=12.0)
    assert {arm for arm, _ in step.cells} == {0, 2}
    assert len(step.cells) == 88  # (100 − 12) s at a second a training
    assert step.left == 40
    assert not next_trainings(scores, judge(scores), Budget(4), now, seconds=12.0).cells
