"""Masks that a model makes of its inputs, against which positions really reach its output: each is moved in turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.structure.operators.running import Quiet
from torch import Tensor, nn

from leaky.structure.history import History
from leaky.structure.trace import Tracer

N, STEPS, FEATURES = 4, 5, 3
IDS = torch.tensor([[1, 0, 2, 0, 0], [3, 1, 2, 0, 1], [0, 2, 1, 1, 0], [2, 3, 3, 1, 0]])
"""Zeros in every row, and not only at its end."""

CANDIDATES: dict[str, Callable[[Tensor], Tensor]] = {
    "is 0": lambda ids: ids == 0,
    "is not 0": lambda ids: ids != 0,
    "above 0": lambda ids: ids.gt(0),
    "below 1": lambda ids: ids < 1,
    "not below 1": lambda ids: ~(ids < 1),
    "by truth values": lambda ids: torch.logical_not(ids.eq(0) | torch.zeros(STEPS, dtype=torch.bool)),
    "and a constant": lambda ids: ids.ne(0) & torch.ones(STEPS, dtype=torch.bool),
}
NUMBERS: dict[str, Callable[[Tensor], Tensor]] = {
    "0 and 1": lambda c: c.float(),
    "1 and 0": lambda c: 1 - c.float(),
    "−1 and 1": lambda c: 1 - 2 * c.float(),
    "0 and −1": lambda c: c.float() * -1.0,
    "0 and −10⁴": lambda c: c.float() * -1e4,
    "−10⁹ and 0": lambda c: (1.0 - c.float()) * -1e9,
    "0 and −∞": lambda c: torch.zeros(N, STEPS).masked_fill(c, -torch.inf),
    "moved there and back": lambda c: (c.float() * -1e4).unsqueeze(1).transpose(1, 2).squeeze(-1),
    "halved": lambda c: c.float() * -1e4 / 2,
}
OF_TRUTH: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "filled with −∞": lambda scores, c: scores.masked_fill(c, -torch.inf),
    "filled with −10⁹": lambda scores, c: scores.masked_fill(c, -1e9),
    "filled with 1": lambda scores, c: scores.masked_fill(c, 1.0),
    "kept where true": lambda scores, c: torch.where(c, scores, torch.tensor(-1e9)),
    "kept where false": lambda scores, c: torch.where(c, torch.tensor(-1e9), scores),
}
OF_NUMBERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "added": lambda scores, m: scores + m,
    "taken off": lambda scores, m: scores - m,
}


class Weighted(nn.Module):
    """Σ_p softmax(scores)_p · features_p, where the mask acts on scores or on features.

    Attributes:
        moved: added to the features, for telling which positions matter.
        raised: whether the mask made a score larger: then others are hidden by no more than being outweighed.
    """

    def __init__(self, mask: Callable[[Tensor], Tensor], use: Callable[[Tensor, Tensor], Tensor] | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.score = nn.Embedding(4, FEATURES), nn.Linear(FEATURES, 1)
        self.register_buffer("moved", torch.zeros(N, STEPS, FEATURES))
        self.mask, self.use = mask, use
        self.raised = False

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) + self.moved
        if self.use is None:
            return (x * self.mask(ids).unsqueeze(-1)).sum(1)
        scores = self.score(x).squeeze(-1)
        kept = self.use(scores, self.mask(ids))
        self.raised = bool((kept.detach() - scores.detach() > 0).any()) and kept.detach().max() > 1e3
        return (kept.softmax(1).unsqueeze(-1) * x).sum(1)


def reaching(model: Weighted) -> Tensor:
    """Which positions the output depends on, shape (N, STEPS): each is moved, and the output looked at."""
    found = torch.zeros(N, STEPS, dtype=torch.bool)
    before = model(IDS)
    for place in range(STEPS):
        model.moved[:, place] = 0.37
        found[:, place] = (model(IDS) != before).any(1)
        model.moved[:, place] = 0.0
    return found


def masks_of(model: Weighted) -> Tensor | None:
    """The positions that are real as the tracer sees it in a second pass; None where it found no mask."""
    first, history = Tracer(model, Quiet(), padding=True), History()
    with first.following([IDS], 0):
        learned = first.learned([model(IDS)])
    second = Tracer(model, Quiet(), history=history, padding=True)
    second.go_on_from(first)
    with second.following([IDS], 0):
        model(IDS)
    real = second.masks.by_key.get(history.inputs[0].axes[1][0].key)
    assert learned == (real is not None)
    assert not second.masks.learned  # a second pass teaches nothing
    assert bool(second.masks.hid) == (real is not None)
    return real


def check(mask: Callable[[Tensor], Tensor], use: Callable[[Tensor, Tensor], Tensor] | None) -> bool:
    """Whether a mask was found, which is then the right one."""
    model = Weighted(mask, use).eval()
    with torch.no_grad():
        truth, found = reaching(model), masks_of(model)
    if found is not None:
        assert torch.equal(found, truth)
    elif not model.raised:
        assert truth.all()
    return found is not None


@pytest.mark.parametrize("use", OF_TRUTH)
@pytest.mark.parametrize("candidate", CANDIDATES)
def test_scores_that_are_filled_or_picked_by_truth_values(candidate: str, use: str) -> None:
    assert check(CANDIDATES[candidate], OF_TRUTH[use]) == (use != "filled with 1")


@pytest.mark.parametrize("use", OF_NUMBERS)
@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("candidate", ["is 0", "not below 1"])
def test_numbers_that_are_added_to_scores(candidate: str, numbers: str, use: str) -> None:
    small = numbers in ("0 and 1", "1 and 0", "−1 and 1", "0 and −1")
    found = check(lambda ids: NUMBERS[numbers](CANDIDATES[candidate](ids)), OF_NUMBERS[use])
    assert found == (not small and use == "added")


@pytest.mark.parametrize("numbers", [name for name in NUMBERS if "∞" not in name])
@pytest.mark.parametrize("candidate", CANDIDATES)
def test_features_that_are_multiplied(candidate: str, numbers: str) -> None:
    assert check(lambda ids: NUMBERS[numbers](CANDIDATES[candidate](ids)), None) == (numbers != "−1 and 1")


def test_a_mask_is_forgotten_with_its_pass_and_known_where_it_is_made_in_the_next() -> None:
    model = Weighted(CANDIDATES["is 0"], OF_TRUTH["filled with −∞"]).eval()
    tracer = Tracer(model, Quiet(), padding=True)
    with torch.no_grad():
        with tracer.following([IDS], 0):
            model(IDS)
        (rule,) = tracer.masks.plan.values()
        assert (rule.real, rule.inputs) == (False, frozenset({0}))
        other = IDS.flip(0)
        with tracer.following([other], 0):
            assert tracer.masks.by_key == {}
            model(other)
        found = list(tracer.masks.by_key.values())
    assert found
    assert all(torch.equal(real, other != 0) for real in found)


def test_nothing_is_looked_for_where_nobody_wants_it() -> None:
    model = Weighted(CANDIDATES["is 0"], OF_TRUTH["filled with −∞"]).eval()
    tracer = Tracer(model, Quiet())
    with torch.no_grad(), tracer.following([IDS], 0):
        model(IDS)
    assert (tracer.masks.plan, tracer.masks.by_key, tracer.masks.hid) == ({}, {}, {})


def test_a_comparison_that_no_weight_has_met_hides_nothing() -> None:
    """Of the inputs themselves, before any learned weight: it may be data as well."""
    model = nn.Sequential(nn.Identity(), nn.Linear(STEPS, 2)).eval()
    x = torch.where(IDS == 0, 0.0, IDS.double() + 0.5).float()
    tracer = Tracer(model, Quiet(), padding=True)
    with torch.no_grad(), tracer.following([x], 0):
        model(x * (x != 0))
    assert tracer.masks.plan == {}
