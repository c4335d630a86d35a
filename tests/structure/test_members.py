"""Which matrix of a stack made each row that comes to a site, and of which sample: both can be read off the row."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.structure.operators.running import Sites
from torch import Tensor, nn

from leaky.structure.trace import SiteCall, Tracer

SAMPLES, MEMBERS, UNITS = 6, 3, 4
X = torch.stack([torch.arange(1.0, SAMPLES + 1), torch.ones(SAMPLES)], 1)
"""Sample i is (i + 1, 1)."""

Run = Callable[[nn.Parameter, Tensor], Tensor]


class Stack(nn.Module):
    """Matrix m makes 100 (m + 1) + i + 1 of sample i, the same for each unit."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        stack = torch.ones(MEMBERS, 2, UNITS)
        stack[:, 1] = 100 * torch.arange(1.0, MEMBERS + 1)[:, None]
        self.run, self.weight, self.rectifier = run, nn.Parameter(stack), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.rectifier(self.run(self.weight, x))


def at_the_site(run: Run) -> list[tuple[SiteCall, Tensor]]:
    model, sites = Stack(run), Sites()
    with torch.no_grad(), Tracer(model, sites).following([X], 0):
        model(X)
    assert sites.calls
    return sites.calls


def told(call: SiteCall, z: Tensor) -> list[tuple[int, int, int]]:
    """Member and sample of each row as the parts have them, with the number that the row holds."""
    found = []
    for part in call.parts:
        rows = z if part.arrangement is None else part.arrangement.of(z)
        rows = rows if part.rows is None else rows[torch.from_numpy(part.rows)]
        view = part.layout
        arranged = rows.reshape(view.shape).permute(view.order).reshape(view.samples, -1)
        assert (view.units, part.members) == (UNITS, MEMBERS)
        assert (arranged == arranged[:, :1]).all(), "a row is of one sample and one member"
        ids = range(view.samples) if part.ids is None else part.ids.tolist()
        found += [(part.member, sample, int(value)) for sample, value in zip(ids, arranged[:, 0].tolist(), strict=True)]
    return found


def agrees(calls: Iterable[tuple[SiteCall, Tensor]]) -> list[tuple[int, int]]:
    """Every row of every call holds the member and the sample that it is told to be: those, in order."""
    rows = [row for call, z in calls for row in told(call, z)]
    for member, sample, value in rows:
        assert divmod(value, 100) == (member + 1, sample + 1)
    return sorted((member, sample) for member, sample, _ in rows)


def looped(weight: nn.Parameter, x: Tensor) -> Tensor:
    """Each expert takes the samples that are sent to it."""
    out = torch.zeros(SAMPLES, UNITS)
    for member in range(MEMBERS):
        (rows,) = torch.where(torch.arange(SAMPLES) % MEMBERS == member)
        out = out.index_add(0, rows, torch.relu(x[rows] @ weight[member]))
    return out


ALL = range(SAMPLES)
WAYS: dict[str, tuple[Run, list[tuple[int, int]]]] = {
    "by number": (lambda w, x: x @ w[1], [(1, i) for i in ALL]),
    "from behind": (lambda w, x: x @ w[-2], [(1, i) for i in ALL]),
    "select": (lambda w, x: x @ w.select(0, 1), [(1, i) for i in ALL]),
    "a slice of one": (lambda w, x: (x @ w[1:2]).squeeze(0), [(1, i) for i in ALL]),
    "unbound": (lambda w, x: x @ w.unbind(0)[1], [(1, i) for i in ALL]),
    "index_select": (
        lambda w, x: torch.bmm(x[:, None], w.index_select(0, torch.arange(SAMPLES) % MEMBERS)).squeeze(1),
        [(i % MEMBERS, i) for i in ALL],
    ),
    "two for each sample": (
        lambda w, x: (x[:, None, None] @ w[torch.tensor([[0, 2]] * SAMPLES)]).squeeze(2),
        [(member, i) for member in (0, 2) for i in ALL],
    ),
    "a loop over members": (looped, [(i % MEMBERS, i) for i in ALL]),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_row_is_told_to_be_of_the_member_and_the_sample_that_made_it(way: str) -> None:
    run, expected = WAYS[way]
    assert agrees(at_the_site(run)) == sorted(expected)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-MEMBERS, MEMBERS - 1), st.integers(0, SAMPLES - 1)), min_size=2, max_size=12))
def test_whatever_rows_are_sent_to_whatever_members(sent: list[tuple[int, int]]) -> None:
    members, samples = (torch.tensor(each) for each in zip(*sent, strict=True))
    calls = at_the_site(lambda w, x: torch.bmm(x[samples][:, None], w[members]).squeeze(1))
    assert agrees(calls) == sorted((member % MEMBERS, sample) for member, sample in sent)


@pytest.mark.parametrize("how", ["added", "interpolated"])
def test_what_several_members_made_together_is_of_none(how: str) -> None:
    run: Run = {
        "added": lambda w, x: x @ w[0] + x @ w[1],
        "interpolated": lambda w, x: torch.lerp(x @ w[0], x @ w[1], 0.5),
    }[how]
    ((call, z),) = at_the_site(run)
    assert (call.parts, call.layout.samples, call.layout.units) == ((), SAMPLES, UNITS)
    assert z.shape == (SAMPLES, UNITS)
