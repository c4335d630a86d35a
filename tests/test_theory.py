"""The closed forms against their published values and against simulation."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaky import theory
from leaky.errors import InputError

SLOPES = st.floats(-2.0, 3.0)


@pytest.mark.parametrize(
    ("negative_slope", "expected"),
    [(0.01, 1.4141428570), (0.2, 1.3867504906), (0.3, 1.3545709230)],
)
def test_gain_has_its_published_digits(negative_slope: float, expected: float) -> None:
    assert theory.gain(negative_slope) == pytest.approx(expected, abs=5e-11)


def test_gain_of_the_other_slopes_that_people_meet() -> None:
    assert theory.gain(0.25) == pytest.approx(1.371989, abs=5e-7)
    assert theory.gain(math.sqrt(5.0)) == pytest.approx(0.577350, abs=5e-7)
    assert theory.gain(0.0) == pytest.approx(math.sqrt(2.0), abs=1e-15)


@pytest.mark.parametrize(
    ("negative_slope", "mean", "second_moment", "variance"),
    [
        (0.01, 0.3949528576, 0.50005, 0.3440622403),
        (0.2, 0.3191538243, 0.52, 0.4181408364),
        (0.3, 0.2792595963, 0.545, 0.4670140779),
    ],
)
def test_moments_have_their_published_digits(
    negative_slope: float, mean: float, second_moment: float, variance: float
) -> None:
    found = theory.moments(negative_slope)
    assert (found.mean, found.second_moment, found.variance) == pytest.approx(
        (mean, second_moment, variance), abs=5e-11
    )


@given(SLOPES)
def test_moments_agree_with_gauss_hermite_quadrature(negative_slope: float) -> None:
    # the half-line integrals of z and z² are those of |z| and z² halved; the nodes integrate z² and 1 exactly
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    weights = weights / weights.sum()
    second = (weights * np.where(nodes > 0, nodes, negative_slope * nodes) ** 2).sum()
    assert theory.moments(negative_slope).second_moment == pytest.approx(second, rel=1e-12)
    assert theory.gain(negative_slope) ** 2 * second == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("negative_slope", [-0.5, 0.0, 0.01, 0.3, 1.0, 1.7])
def test_correlation_map_agrees_with_simulation(negative_slope: float) -> None:
    generator = np.random.default_rng(7)
    z, noise = generator.standard_normal((2, 200_000))
    for c in (-0.9, -0.3, 0.0, 0.5, 0.95):
        other = c * z + math.sqrt(1 - c * c) * noise
        f, g = (np.where(v > 0, v, negative_slope * v) for v in (z, other))
        products = theory.gain(negative_slope) ** 2 * f * g
        error = products.std() / math.sqrt(len(products))
        assert abs(products.mean() - theory.correlation_map(c, negative_slope)) < 4 * error


@given(SLOPES)
def test_equal_inputs_stay_equal(negative_slope: float) -> None:
    assert theory.correlation_map(1.0, negative_slope) == 1.0


def test_correlation_map_takes_arrays() -> None:
    c = np.linspace(-1, 1, 5)
    mapped = theory.correlation_map(c, 0.2)
    assert mapped.shape == c.shape
    assert mapped.tolist() == [theory.correlation_map(float(v), 0.2) for v in c]
    assert np.all(mapped >= c)


@pytest.mark.parametrize(
    ("depth", "target", "expected"),
    [
        (20, 0.9, 0.1813802775),
        (50, 0.9, 0.4305229485),
        (100, 0.9, 0.5704395311),
        (50, 0.95, 0.3082958153),
        (100, 0.95, 0.4763312298),
    ],
)
def test_tailored_slope_has_its_published_digits(depth: int, target: float, expected: float) -> None:
    found = theory.tailored_slope(depth, target)
    assert found.negative_slope == pytest.approx(expected, abs=5e-11)
    assert found.output_scale == theory.gain(found.negative_slope)
    assert found.correlation == pytest.approx(target, abs=1e-12)
    assert found.correlation == theory.global_correlation(depth, found.negative_slope)
    assert found.reachable


@pytest.mark.parametrize(("target", "first_depth"), [(0.9, 13), (0.95, 21)])
def test_target_out_of_reach_gives_the_reachable_value(target: float, first_depth: int) -> None:
    assert theory.tailored_slope(first_depth, target).reachable
    short = theory.tailored_slope(first_depth - 1, target)
    assert (short.reachable, short.negative_slope) == (False, 0.0)
    assert short.correlation < target
    assert theory.tailored_slope(10).correlation == pytest.approx(0.8715355160, abs=5e-11)


def graph(*parts: tuple[str, tuple[int, ...], tuple[float, ...]]) -> theory.Graph:
    """A graph from kinds, inputs and factors; vertex 0 is the input."""
    vertices = [theory.Vertex("input"), *(theory.Vertex(kind, inputs, factors) for kind, inputs, factors in parts)]  # type: ignore[arg-type]
    return theory.Graph(tuple(vertices), (len(vertices) - 1,))


def test_a_long_branch_with_a_small_share_counts_alone() -> None:
    row = [("rectifier", (index,), (1.0,)) for index in range(30)]
    network = graph(*row, ("sum", (0, 30), (0.99, 0.02)), ("rectifier", (31,), (1.0,)))
    assert theory.global_correlation(network, 0.0) < theory.global_correlation(30, 0.0)
    assert theory.tailored_slope(network) == theory.tailored_slope(30)


def test_added_branches_mix_by_their_shares() -> None:
    row = [("rectifier", (index,), (1.0,)) for index in range(4)]
    network = graph(*row, ("sum", (1, 4, 0), (2.0, 2.0, 1.0)))
    parts = [theory.global_correlation(depth, 0.1, 0.2) for depth in (1, 4)]
    # a rectifier keeps the second moment under He scaling, so that the factors alone set the shares
    assert theory.global_correlation(network, 0.1, 0.2) == pytest.approx(
        (2 * parts[0] + 2 * parts[1] + 0.2) / 5, rel=1e-12
    )


# (N, L) of facts: L counts the output layer, so there are L − 1 hidden layers
BORN_DEAD = [
    (2, 3, 0.15625, 0.155, 0.4375),
    (2, 10, 0.8703, 0.8776, 0.9249),
    (3, 10, 0.5134, 0.5781, 0.6993),
    (4, 20, 0.5198, 0.6250, 0.7066),
    (5, 50, 0.6361, 0.7557, 0.7890),
]


@pytest.mark.parametrize(("width", "layers", "lower", "simulated", "upper"), BORN_DEAD)
def test_born_dead_bounds_have_their_published_digits_and_hold_the_simulation(
    width: int, layers: int, lower: float, simulated: float, upper: float
) -> None:
    bounds = theory.born_dead_probability([width] * (layers - 1))
    assert (bounds.lower, bounds.upper) == pytest.approx((lower, upper), abs=5e-5)
    networks = 20_000
    share = _born_dead_share(width, layers - 1, networks)
    error = math.sqrt(share * (1 - share) / networks)
    assert bounds.lower - 3 * error <= share <= bounds.upper + 3 * error
    assert abs(share - simulated) <= 3 * error * math.sqrt(1.5) + 5e-4  # theirs saw twice as many networks


def _born_dead_share(width: int, hidden_layers: int, networks: int) -> float:
    """The share of random one-input networks of which some layer is 0 for positive and for negative inputs."""
    generator = np.random.default_rng(width * 100 + hidden_layers)
    rays = np.maximum(generator.standard_normal((networks, width, 1)) * np.array([1.0, -1.0]), 0.0)
    for _ in range(hidden_layers - 1):
        rays = rays[rays.any(axis=(1, 2))]
        norms = np.linalg.norm(rays, axis=(1, 2), keepdims=True)
        rays = np.maximum(generator.standard_normal((len(rays), width, width)) @ (rays / norms), 0.0)
    return 1.0 - float(rays.any(axis=(1, 2)).sum()) / networks


def test_born_dead_exactly_solvable_case() -> None:
    assert theory.born_dead_probability([2, 2]).lower == pytest.approx(0.15625, abs=1e-15)


def test_born_dead_of_other_shapes() -> None:
    mixed = theory.born_dead_probability([2, 3])
    assert (mixed.lower, mixed.upper) == (0.0, pytest.approx(1 - 0.75 * 0.875))
    assert theory.born_dead_probability([2, 2, 2], 0.01) == theory.Bounds(0.0, 0.0)
    assert theory.born_dead_probability([4]).lower == 0.0
    assert theory.born_dead_probability([5000] * 100).upper == 0.0


def test_samples_needed_for_ten_thousand_units() -> None:
    assert theory.samples_needed(10_000) == 1_215
    assert theory.samples_needed(1) == 299


@given(st.integers(1, 10**6), st.floats(1e-4, 0.5), st.floats(1e-3, 0.5))
def test_samples_needed_is_the_smallest_number_that_bounds_the_rate(units: int, rate: float, delta: float) -> None:
    n = theory.samples_needed(units, rate, delta)
    assert theory.rate_bound(n, delta, units) <= rate * (1 + 1e-9)
    assert theory.rate_bound(n - 1, delta, units) >= rate * (1 - 1e-9)


def test_rate_bound_is_three_over_n_and_says_nothing_of_no_data() -> None:
    assert theory.rate_bound(100) == pytest.approx(1 - 0.05**0.01, rel=1e-12)
    assert theory.rate_bound(100_000) == pytest.approx(3 / 100_000, rel=2e-3)
    assert theory.rate_bound(0) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.gain(math.nan), "finite number, not nan"),
        (lambda: theory.moments(math.inf), "finite number, not inf"),
        (lambda: theory.correlation_map(1.5, 0.1), r"\[−1, 1\], not 1.5"),
        (lambda: theory.tailored_slope(0), "depth of at least 1, a graph or an analysis, not 0"),
        (lambda: theory.tailored_slope(5.5), "not 5.5"),  # type: ignore[arg-type]
        (lambda: theory.tailored_slope(20, 1.0), r"\(0, 1\), not 1.0"),
        (lambda: theory.tailored_slope(graph()), "at least one rectifier"),
        (lambda: theory.tailored_slope(print), r"give leaky.analyse\(model, batch\)"),  # type: ignore[arg-type]
        (lambda: theory.born_dead_probability([]), r"not \[\]"),
        (lambda: theory.samples_needed(0), "not 0"),
        (lambda: theory.samples_needed(5, rate=0.0), r"rate must lie in \(0, 1\), not 0.0"),
        (lambda: theory.rate_bound(-1), "not -1 and 1"),
        (lambda: theory.rate_bound(5, delta=1.0), r"delta must lie in \(0, 1\), not 1.0"),
    ],
)
def test_errors_name_what_came(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_theory_imports_without_torch() -> None:
    code = "import leaky, sys; leaky.theory.gain(0.1); assert not {'torch', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
