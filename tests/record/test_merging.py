"""Statistics of parts, merged, are those of the whole: each part and the whole made apart from `merge`, in float64."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from tests.records import normal, record_from, regression, site_from, tensor

from leaky.errors import InputError
from leaky.record import GradientStatistics, LossTerm, ParameterGradients, Record, UnitStatistics
from leaky.record.directions import Directions
from leaky.record.layers import Choice, Normalisation, SharedLayer
from leaky.record.statistics import side_by_side


def assert_same(mine: Any, wanted: Any, where: str = "") -> None:
    """Both the same to rounding, field by field, with None and names exact."""
    assert type(mine) is type(wanted) or not is_dataclass(wanted), where
    if is_dataclass(wanted):
        for field in fields(wanted):
            assert_same(getattr(mine, field.name), getattr(wanted, field.name), f"{where}.{field.name}")
    elif isinstance(wanted, tuple):
        assert len(mine) == len(wanted), where
        for i, (left, right) in enumerate(zip(mine, wanted, strict=True)):
            assert_same(left, right, f"{where}[{i}]")
    elif isinstance(wanted, (float, np.ndarray)):
        assert np.shape(mine) == np.shape(wanted), where
        assert mine == pytest.approx(wanted, rel=1e-9, abs=1e-9, nan_ok=True), where
    else:
        assert mine == wanted, where


CUTS = (1, 7, 19)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("smooth", [None, np.tanh])
def test_a_site_of_two_parts_is_that_of_all_samples(cut: int, smooth: Any) -> None:
    z, g = normal(20, 3, 4, seed=1), normal(20, 3, 4, seed=2)
    z[0, 0], z[5, 1, 2], z[11, 2, 0] = np.nan, np.inf, 3.5

    def made(rows: slice) -> Any:
        return site_from(z[rows], [0, 0.2, -1], cap=2.0, floor=-1.5, smooth=smooth, gradient=g[rows], batch_size=99)

    whole, first, second = made(slice(None)), made(slice(cut)), made(slice(cut, None))
    for merged in (first.merge(second), second.merge(first)):
        assert_same(merged.statistics, whole.statistics)
    assert first.merge(second).directions is None


def test_the_last_batch_on_which_a_unit_fired_is_the_later_one() -> None:
    z = np.array([[1.0, -1.0, -1.0], [1.0, 1.0, -1.0]])
    first, second = site_from(z[:1]), site_from(z[1:])
    later = replace(second.statistics, last_fired=np.array([4, 4, -1]))
    assert first.statistics.merge(later).last_fired.tolist() == [4, 4, -1]
    assert later.merge(first.statistics).last_fired.tolist() == [4, 4, -1]


def test_nothing_is_the_neutral_element() -> None:
    statistics = site_from(normal(9, 3), gradient=normal(9, 3), smooth=np.tanh).statistics
    nothing = UnitStatistics.empty(3)
    assert_same(statistics.merge(nothing), statistics)
    assert_same(nothing.merge(statistics), statistics)
    assert (nothing.samples, nothing.counts.shape, nothing.elements.tolist()) == (0, (4, 3), [0, 0, 0])
    assert (nothing.minimum.tolist(), nothing.maximum.tolist()) == ([np.inf] * 3, [-np.inf] * 3)


def test_the_samples_that_each_unit_saw_add_where_one_of_two_knows_them() -> None:
    plain = site_from(normal(9, 2)).statistics
    routed = replace(plain, seen=np.array([4, 9]))
    assert plain.merge(plain).seen is None
    assert plain.merge(routed).seen.tolist() == routed.merge(plain).seen.tolist() == [13, 18]
    assert routed.merge(routed).seen.tolist() == [8, 18]


def test_other_units_or_another_site_are_refused() -> None:
    site = site_from(normal(4, 3))
    with pytest.raises(InputError, match="not 3 and 2"):
        site.statistics.merge(UnitStatistics.empty(2))
    with pytest.raises(InputError, match="only the same site"):
        site.merge(replace(site, name="another"))
    with pytest.raises(InputError, match="only the same site"):
        site.merge(replace(site, activation="ReLU"))


def test_members_side_by_side_keep_their_own_samples_and_gradients() -> None:
    z, g = normal(9, 2, seed=3), normal(9, 2, seed=4)
    with_gradient = site_from(z, gradient=g).statistics
    without, smooth = site_from(normal(5, 3)).statistics, site_from(normal(4, 1), smooth=np.tanh).statistics
    joined = side_by_side([with_gradient, without, smooth], 12)
    assert (joined.samples, joined.seen.tolist()) == (12, [9, 9, 5, 5, 5, 4])
    assert joined.fired.tolist() == [*with_gradient.fired, *without.fired, *smooth.fired]
    assert np.array_equal(joined.sums, np.hstack([with_gradient.sums, without.sums, smooth.sums]))
    assert joined.output_sums == pytest.approx([0, 0, 0, 0, 0, *smooth.output_sums])
    assert joined.gradient.samples == 9
    for name in ("absolute_sums", "squares"):
        expected = np.hstack([getattr(with_gradient.gradient, name), np.zeros((4, 4))])
        assert np.array_equal(getattr(joined.gradient, name), expected)
    longer = replace(without, gradient=GradientStatistics(30, np.ones((4, 3)), np.ones((4, 3))))
    assert side_by_side([with_gradient, longer], 12).gradient.samples == 30
    bare = side_by_side([without, without], 5)
    assert bare.gradient is None
    assert bare.output_sums is None


@pytest.mark.parametrize("cut", CUTS)
def test_a_tensor_of_two_parts_is_that_of_all_samples(cut: int) -> None:
    x = normal(20, 6, seed=5)
    x[3, 2], x[8, 0], x[:, 4] = np.nan, -np.inf, 0.25
    merged = tensor(x[:cut]).merge(tensor(x[cut:]))
    assert_same(replace(merged, shape=()), replace(tensor(x), shape=()))


@pytest.mark.parametrize("other", [1.0, 2.0])
def test_samples_are_alike_only_if_both_parts_hold_the_same_one(other: float) -> None:
    same, varied = np.ones((3, 2)), np.array([[1.0, 1.0], [0.0, 1.0]])
    assert tensor(same).merge(tensor(np.full((3, 2), other))).alike == (other == 1.0)
    assert not tensor(same).merge(tensor(varied)).alike
    assert not tensor(varied).merge(tensor(same)).alike


def test_whole_numbers_stay_so_only_together_and_names_come_from_either() -> None:
    whole, broken = tensor([[1.0], [2.0]], made_by="relu"), tensor([[1.5], [2.0]], made_over=7)
    assert [a.merge(b).whole for a in (whole, broken) for b in (whole, broken)] == [True, False, False, False]
    for merged in (whole.merge(broken), broken.merge(whole)):
        assert (merged.made_by, merged.made_over) == ("relu", 7)


def test_features_of_another_number_are_given_up() -> None:
    assert tensor(normal(4, 3)).merge(tensor(normal(4, 2))).features is None
    assert tensor(normal(4, 3)).merge(tensor(normal(4, 3), features=None)).features is None
    assert tensor(normal(4, 3), features=None).merge(tensor(normal(4, 3))).features is None


def test_a_comparison_of_two_parts_is_that_of_all_samples() -> None:
    target, output = normal(20, 3, seed=6), normal(20, 3, seed=7)
    merged = regression(target[:8], output[:8]).merge(regression(target[8:], output[8:]))
    whole = regression(target, output)
    assert merged.residual_squares == pytest.approx(whole.residual_squares)
    assert merged.explained == pytest.approx(whole.explained)
    assert regression(target, output, residual_squares=None).merge(whole).residual_squares is None
    assert whole.merge(regression(target, output, residual_squares=None)).residual_squares is None
    assert whole.key == ("mse_loss", "output", "batch[1]", ())


def classified(hits: int | None, compared: int, classes: tuple[int, ...]) -> LossTerm:
    return regression([[0.0]], [[0.0]], "cross_entropy", hits=hits, compared=compared, classes=classes)


def test_hits_and_classes_add_also_where_one_part_met_fewer_classes() -> None:
    for merged in (
        classified(3, 5, (4, 1)).merge(classified(2, 4, (0, 1, 3))),
        classified(2, 4, (0, 1, 3)).merge(classified(3, 5, (4, 1))),
    ):
        assert (merged.hits, merged.compared, merged.classes) == (5, 9, (4, 2, 3))
    assert classified(None, 5, ()).merge(classified(2, 4, (0, 1))).hits is None
    assert classified(2, 5, ()).merge(classified(None, 4, (0, 1))).hits is None


def test_a_gradient_that_was_once_there_is_there() -> None:
    first = ParameterGradients(4, ("a", "b"), ("c",))
    second = ParameterGradients(5, ("a", "c"), ("b",))
    assert first.merge(second) == ParameterGradients(5, ("a",), ("b", "c"))
    assert first.merge(ParameterGradients(4)) == ParameterGradients(4)
    assert ParameterGradients(3, ("a",), ("b", "c")).all_zero
    assert not ParameterGradients(4, ("a",), ("b", "c")).all_zero
    assert not ParameterGradients(0).all_zero


def test_directions_add_and_are_given_up_where_they_do_not_fit() -> None:
    z = normal(20, 5, seed=8)
    units = z / np.linalg.norm(z, axis=1, keepdims=True)
    merged = Directions(8, units[:8].sum(0)).merge(Directions(12, units[8:].sum(0)))
    pairs = [float(units[i] @ units[j]) for i in range(20) for j in range(20) if i != j]
    assert merged is not None
    assert merged.cosine == pytest.approx(np.mean(pairs))
    assert merged.merge(Directions(3, np.zeros(4))) is None
    assert Directions(1, np.zeros(5)).cosine is None
    assert Directions(2, np.array([2.0])).cosine == 1.0
    site = site_from(z, directions=merged)
    assert site.merge(site).directions.samples == 40
    assert site.merge(replace(site, directions=None)).directions is None
    assert replace(site, directions=None).merge(site).directions is None


def parts() -> tuple[Record, Record]:
    z = normal(20, 3, seed=9)
    norm = Normalisation("norm", 3, False)
    first = record_from(
        site_from(z[:8], name="a"),
        site_from(z[:8], name="b"),
        not_examined=(("x", "why"),),
        notes=("one", "two"),
        inputs=(tensor(z[:8]),),
        outputs=(tensor(z[:8], "output"),),
        terms=(regression(z[:8], z[:8] + 1),),
        gradients=ParameterGradients(2, ("w",)),
        batches=2,
    )
    second = record_from(
        site_from(z[8:], name="c"),
        site_from(z[8:], name="a"),
        not_examined=(("x", "why"), ("y", "so")),
        notes=("two", "three"),
        inputs=(tensor(z[8:]), tensor(z[8:], "other")),
        outputs=(tensor(z[8:], "output"),),
        terms=(regression(z[8:], z[8:] + 1),),
        normalisations=(norm,),
        shared_layers=(SharedLayer("l", 2),),
        choices=(Choice("l", "gate", 4, 1, 2),),
        on_noise=True,
        batches=3,
    )
    return first, second


def test_a_record_of_two_parts_holds_what_either_saw() -> None:
    first, second = parts()
    merged = first.merge(second)
    assert (merged.samples, merged.batches, merged.on_noise) == (20, 5, True)
    assert [(site.name, site.samples) for site in merged.sites] == [("a", 20), ("b", 8), ("c", 12)]
    assert merged.not_examined == (("x", "why"), ("y", "so"))
    assert merged.notes == ("one", "two", "three")
    assert [(each.name, each.samples) for each in merged.inputs] == [("input", 20), ("other", 12)]
    assert [each.samples for each in merged.outputs] == [20]
    assert [each.residual_squares for each in merged.terms] == [pytest.approx(60)]
    assert merged.units == 9
    for both in (merged, second.merge(first)):
        assert both.gradients == ParameterGradients(2, ("w",))
        assert both.normalisations == second.normalisations
        assert both.shared_layers == second.shared_layers
        assert both.choices == second.choices
    assert first.merge(first).gradients == ParameterGradients(2, ("w",))
    assert not first.merge(first).on_noise
