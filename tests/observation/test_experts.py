"""Units of experts and ensembles: one a member and feature, however the members' weights are taken and multiplied.

The truth is computed member by member, in plain torch, from the parameters.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 — the field's name for it

import leaky
from leaky.record import Record
from leaky.record.reading import record_from_dict
from leaky.record.writing import record_to_dict

MEMBERS, INPUTS, UNITS, N = 3, 8, 5, 60


class Members(nn.Module):
    """A stack of matrices and biases, and a way to run them."""

    def __init__(self, run: Callable[[Members, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.run = run
        self.weight = nn.Parameter(torch.randn(MEMBERS, INPUTS, UNITS))
        self.bias = nn.Parameter(torch.randn(MEMBERS, UNITS))
        with torch.no_grad():
            self.bias[1, 2] = -100

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)

    def fired(self, x: Tensor, sent: Tensor | None = None) -> np.ndarray:
        """On how many samples each unit of each member fires; `sent` says which samples each member gets."""
        z = torch.stack([x @ self.weight[i] + self.bias[i] for i in range(MEMBERS)])
        mask = z > 0 if sent is None else (z > 0) & sent.T[:, :, None]
        return mask.sum(1).reshape(-1).numpy()


def chosen(x: Tensor) -> Tensor:
    """The member of each sample."""
    return (x[:, 0] > 0).long() + (x[:, 0] > 1).long()


def routed_by_rows(m: Members, x: Tensor) -> Tensor:
    """As a mixture of experts does it: two rows a sample, each with the matrix of its expert."""
    ids = torch.stack([chosen(x), (chosen(x) + 1) % MEMBERS], 1).reshape(-1)
    rows = x[torch.arange(len(x)).repeat_interleave(2)]
    z = torch.bmm(m.weight[ids].transpose(1, 2), rows.unsqueeze(-1)).squeeze(-1)
    return torch.relu(z + m.bias[ids]).reshape(len(x), 2, -1).sum(1)


def routed_by_loops(m: Members, x: Tensor) -> Tensor:
    """Each expert takes the samples that are sent to it."""
    out = torch.zeros(len(x), UNITS)
    for i in range(MEMBERS):
        for slot in range(2):
            (rows,) = torch.where((chosen(x) + slot) % MEMBERS == i)
            out = out.index_add(0, rows, F.relu(x[rows] @ m.weight[i] + m.bias[i]))
    return out


EVERY_SAMPLE: dict[str, Callable[[Members, Tensor], Tensor]] = {
    "einsum": lambda m, x: torch.relu(torch.einsum("bi,eio->beo", x, m.weight) + m.bias),
    "einsum with positions": lambda m, x: torch.relu(
        torch.einsum("bti,eio->bteo", x[:, None].expand(-1, 4, -1), m.weight) + m.bias
    ),
    "broadcast": lambda m, x: torch.relu((x[:, None, None] @ m.weight).squeeze(2) + m.bias),
    "baddbmm": lambda m, x: torch.relu(torch.baddbmm(m.bias[:, None], x.expand(MEMBERS, -1, -1), m.weight)),
    "matmul": lambda m, x: torch.relu(x @ m.weight + m.bias[:, None]),
    "multiplied and summed": lambda m, x: torch.relu((x[:, None, :, None] * m.weight).sum(2) + m.bias),
    "one by one": lambda m, x: torch.stack([torch.relu(x @ m.weight[i] + m.bias[i]) for i in range(MEMBERS)], 1),
    "stacked first": lambda m, x: torch.relu(torch.stack([x @ m.weight[i] + m.bias[i] for i in range(MEMBERS)], 1)),
    "unbound": lambda m, x: torch.stack([torch.relu(x @ w + b) for w, b in zip(m.weight, m.bias, strict=True)], 1),
    "vmap": lambda m, x: torch.vmap(lambda w, b: torch.relu(x @ w + b))(m.weight, m.bias),
    "grouped convolution": lambda m, x: torch.relu(
        F.conv1d(
            x.repeat(1, MEMBERS)[:, :, None],
            m.weight.transpose(1, 2).reshape(-1, INPUTS, 1),
            m.bias.reshape(-1),
            groups=MEMBERS,
        )
    ),
}


def observed(run: Callable[[Members, Tensor], Tensor], x: Tensor, **options: object) -> tuple[Members, Record]:
    model = Members(run).eval()
    return model, leaky.observe(model, x, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", EVERY_SAMPLE)
def test_every_member_has_units_of_its_own(how: str) -> None:
    x = torch.randn(N, INPUTS, generator=torch.Generator().manual_seed(1))
    model, record = observed(EVERY_SAMPLE[how], x, batch_size=16)
    (site,) = record.sites
    assert record.not_examined == ()
    assert (site.units, site.samples) == (MEMBERS * UNITS, N)
    assert site.statistics.fired.tolist() == model.fired(x).tolist()
    assert site.statistics.fired[UNITS + 2] == 0


@pytest.mark.parametrize("run", [routed_by_rows, routed_by_loops])
def test_an_expert_is_judged_on_the_samples_that_were_sent_to_it(run: Callable[[Members, Tensor], Tensor]) -> None:
    x = torch.randn(N, INPUTS, generator=torch.Generator().manual_seed(1))
    sent = torch.stack([(chosen(x) == i) | ((chosen(x) + 1) % MEMBERS == i) for i in range(MEMBERS)], 1)
    model, record = observed(run, x, batch_size=16)
    (site,) = record.sites
    assert (site.units, site.samples) == (MEMBERS * UNITS, N)
    assert site.statistics.fired.tolist() == model.fired(x, sent).tolist()
    assert site.statistics.samples_seen.tolist() == sent.sum(0).repeat_interleave(UNITS).tolist()
    seen = site.statistics.samples_seen
    assert site.firing_rate == pytest.approx(site.statistics.fired / seen)


def test_what_an_expert_was_not_sent_is_no_evidence_about_it() -> None:
    x = torch.randn(2000, INPUTS, generator=torch.Generator().manual_seed(1))
    x[:, 0] = -1.0  # everything goes to experts 0 and 1
    x[:20, 0] = 0.5  # but for these, which go to 1 and 2
    model = Members(routed_by_rows).eval()
    with torch.no_grad():
        model.bias[2, 0] = -100
    checkup = leaky.check(model, x)
    (site,) = checkup.record.sites
    verdicts = checkup.verdicts[site.name]
    assert UNITS + 2 in verdicts.dead
    assert 2 * UNITS not in verdicts.dead
    assert 2 * UNITS in verdicts.unproven


def test_gradients_and_outputs_of_experts_are_their_own() -> None:
    x = torch.randn(N, INPUTS, generator=torch.Generator().manual_seed(1))

    def run(m: Members, x: Tensor) -> Tensor:
        ids = chosen(x)
        return F.gelu((x[:, None] @ m.weight[ids]).squeeze(1) + m.bias[ids])

    model = Members(run).eval()
    record = leaky.observe(model, x, loss=lambda output, batch: (output**2).sum())
    (site,) = record.sites
    ids = chosen(x)
    for member in range(MEMBERS):
        z = (x[ids == member] @ model.weight[member] + model.bias[member]).detach()
        h = F.gelu(z)
        units = slice(member * UNITS, (member + 1) * UNITS)
        assert site.statistics.output_sums is not None
        assert site.statistics.gradient is not None
        assert site.statistics.output_sums[units] == pytest.approx(h.sum(0).double().numpy(), rel=1e-4)
        assert site.statistics.gradient.absolute_sums[:, units].sum(0) == pytest.approx(
            (2 * h).abs().sum(0).double().numpy(), rel=1e-4
        )


def test_a_record_of_experts_comes_back_from_json_and_merges() -> None:
    x = torch.randn(N, INPUTS, generator=torch.Generator().manual_seed(1))
    model, record = observed(routed_by_rows, x)
    first, second = (leaky.observe(model, part) for part in (x[:20], x[20:]))
    merged = first.sites[0].merge(second.sites[0])
    assert merged.statistics.fired.tolist() == record.sites[0].statistics.fired.tolist()
    assert merged.statistics.samples_seen.tolist() == record.sites[0].statistics.samples_seen.tolist()
    back = record_from_dict(json.loads(json.dumps(record_to_dict(record))))
    assert back.sites[0].statistics.samples_seen.tolist() == record.sites[0].statistics.samples_seen.tolist()


def test_what_all_members_add_up_to_has_units_of_none() -> None:
    x = torch.randn(N, INPUTS, generator=torch.Generator().manual_seed(1))
    model, record = observed(lambda m, x: torch.relu(sum(x @ m.weight[i] for i in range(MEMBERS))), x)  # type: ignore[arg-type]
    (site,) = record.sites
    assert (site.units, site.samples) == (UNITS, N)
    z = sum(x @ model.weight[i] for i in range(MEMBERS))
    assert site.statistics.fired.tolist() == (z > 0).sum(0).tolist()  # type: ignore[attr-defined, operator, union-attr]


def relu_of(model: Callable[[Tensor], Tensor]) -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.q, self.k = nn.Linear(INPUTS, 1), nn.Linear(INPUTS, 6), nn.Linear(INPUTS, 6)
            self.conv, self.outer = nn.Conv1d(INPUTS, 1, 3), nn.Parameter(torch.randn(INPUTS, 4))

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(model(self, x))  # type: ignore[call-arg, arg-type]

    return Net()


POSITIONS: dict[str, tuple[Callable[..., Tensor], tuple[int, ...], int]] = {
    "squeezed": (lambda m, x: m.one(x).squeeze(-1), (N, 7, INPUTS), 1),
    "squeezed, no positions": (lambda m, x: m.one(x).squeeze(-1), (N, INPUTS), 1),
    "one entry taken": (lambda m, x: m.q(x)[..., 2], (N, 7, INPUTS), 1),
    "one filter": (lambda m, x: m.conv(x.transpose(1, 2)).squeeze(1), (N, 7, INPUTS), 1),
    "product of two": (lambda m, x: (m.q(x) * m.k(x)).sum(-1), (N, 7, INPUTS), 1),
    "scores": (lambda m, x: m.q(x) @ m.k(x).transpose(1, 2), (N, 7, INPUTS), 1),
    "scores of heads": (
        lambda m, x: torch.einsum("bthd,bshd->bhts", m.q(x).view(N, 7, 2, 3), m.k(x).view(N, 7, 2, 3)),
        (N, 7, INPUTS),
        2,
    ),
    "matrix times vector": (lambda m, x: x @ m.one.weight[0], (N, 7, INPUTS), 1),
    "mean over features": (lambda m, x: m.q(x).mean(-1), (N, 7, INPUTS), 1),
    "an embedding a number": (lambda m, x: x[..., None] * m.outer, (N, INPUTS), INPUTS * 4),
}


@pytest.mark.parametrize("how", POSITIONS)
def test_positions_are_no_units(how: str) -> None:
    run, shape, units = POSITIONS[how]
    torch.manual_seed(0)
    model = relu_of(run).eval()
    x = torch.randn(shape)
    record = leaky.observe(model, x, batch_size=N)
    assert [(site.units, site.samples) for site in record.sites] == [(units, N)]
    z = run(model, x)
    fired = (z > 0).reshape(N, -1) if units == 1 else (z > 0).reshape(N, units, -1)
    expected = fired.any(1).sum()[None] if units == 1 else fired.any(2).sum(0)
    assert record.sites[0].statistics.fired.tolist() == expected.tolist()


TILED: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, int], Tensor]]] = {
    "each sample in a row": (lambda x: x.repeat_interleave(MEMBERS, 0), lambda p, n: p.repeat(n, 1)),
    "each member in a row": (lambda x: x.repeat(MEMBERS, 1), lambda p, n: p.repeat_interleave(n, 0)),
    "by number": (
        lambda x: x[torch.arange(len(x)).repeat_interleave(MEMBERS)],
        lambda p, n: p[torch.arange(MEMBERS).repeat(n)],
    ),
    "expanded": (
        lambda x: x[:, None].expand(-1, MEMBERS, -1).reshape(-1, x.shape[1]),
        lambda p, n: p.expand(n, -1, -1).reshape(n * MEMBERS, -1),
    ),
}


class Batched(nn.Module):
    """A batch ensemble: one matrix, and for each member what scales its inputs and outputs and its bias."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.copies, self.rows = TILED[how]
        self.layer = nn.Linear(INPUTS, UNITS, bias=False)
        self.before, self.after, self.bias = (nn.Parameter(torch.randn(MEMBERS, n)) for n in (INPUTS, UNITS, UNITS))
        with torch.no_grad():
            self.bias[1, 2] = -100

    def forward(self, x: Tensor) -> Tensor:
        before, after, bias = (self.rows(p, len(x)) for p in (self.before, self.after, self.bias))
        return torch.relu(self.layer(self.copies(x) * before) * after + bias)


@pytest.mark.parametrize("how", TILED)
def test_the_members_of_a_batch_ensemble_have_units_of_their_own(how: str) -> None:
    x = torch.randn(N, INPUTS, generator=torch.Generator().manual_seed(1))
    model = Batched(how)
    record = leaky.observe(model, x, batch_size=16)
    (site,) = record.sites
    z = torch.stack([model.layer(x * model.before[i]) * model.after[i] + model.bias[i] for i in range(MEMBERS)])
    assert (site.units, site.samples, record.not_examined) == (MEMBERS * UNITS, N, ())
    assert site.statistics.fired.tolist() == (z > 0).sum(1).reshape(-1).tolist()
    assert site.statistics.fired[UNITS + 2] == 0


@pytest.mark.parametrize("copies", [True, False])
def test_positions_that_a_learned_row_is_added_to_are_no_members(copies: bool) -> None:
    """Rows that are positions of a sample, each with an embedding of its place."""

    class Placed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places, self.layer = nn.Parameter(torch.randn(4, INPUTS)), nn.Linear(INPUTS, UNITS)

        def forward(self, x: Tensor) -> Tensor:
            rows = x.reshape(-1, INPUTS) + self.places.repeat(len(x), 1)
            return torch.relu(self.layer(rows)).reshape(len(x), 4, UNITS)

    x = torch.randn(N, 4, INPUTS, generator=torch.Generator().manual_seed(1))
    x[:2] = x[:2, :1]  # some samples are the same everywhere
    model = Placed()
    (site,) = leaky.observe(model, x[:, :1].expand(-1, 4, -1).contiguous() if copies else x).sites
    assert (site.units, site.samples) == (UNITS, N)
