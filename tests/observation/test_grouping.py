"""Rows that depend on each other are one sample: the graphs of a batch by themselves, others by the user's word."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.observation.counting import counted, noted, observed_counts
from torch import Tensor, nn

import leaky
from leaky.errors import InputError

GRAPHS, NODES, EDGES = 12, 60, 150


class Graphs(nn.Module):
    """Messages along edges, nodes, graphs, and what a graph tells its nodes again."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.node = nn.Linear(12, 8), nn.Linear(8, 6)
        self.graph, self.back = nn.Linear(6, 5), nn.Linear(11, 4)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        source, target = edge_index
        pair = torch.cat([x[source], x[target]], 1)
        message = torch.relu(noted("edge", self.message(pair), samples=batch[source]))
        nodes = torch.zeros(len(x), 8).index_add_(0, target, message)
        nodes = torch.relu(noted("node", self.node(nodes), samples=batch))
        pooled = torch.zeros(int(batch.max()) + 1, 6).index_add_(0, batch, nodes)
        pooled = torch.relu(noted("graph", self.graph(pooled)))
        return torch.relu(noted("back", self.back(torch.cat([pooled[batch], nodes], 1)), samples=batch))


def graphs(seed: int) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    batch = torch.arange(NODES) // (NODES // GRAPHS)
    source = torch.randint(NODES, (EDGES,), generator=g)
    inside = torch.randint(NODES // GRAPHS, (EDGES,), generator=g)
    target = batch[source] * (NODES // GRAPHS) + inside
    return {"x": torch.randn(NODES, 6, generator=g), "edge_index": torch.stack([source, target]), "batch": batch}


def named(model: nn.Module, batch: Any) -> Any:
    return model(**batch)


def test_the_graphs_of_a_batch_are_its_samples() -> None:
    torch.manual_seed(0)
    model, batches = Graphs(), [graphs(0), graphs(1)]
    truth = counted(model, batches, named)
    record = leaky.observe(model, batches)
    assert observed_counts(record) == list(truth.values())
    assert {count.samples for count in truth.values()} == {2 * GRAPHS}
    assert record.samples == 2 * GRAPHS
    assert any("groups=False" in note for note in record.notes)


def test_nodes_are_samples_where_the_user_says_so_and_in_one_graph() -> None:
    torch.manual_seed(0)
    model = Graphs()
    record = leaky.observe(model, [graphs(0)], groups=False)
    assert (record.samples, record.sites[1].samples, record.sites[2].samples) == (NODES, NODES, GRAPHS)
    assert record.notes == ()
    alone = graphs(0) | {"batch": torch.zeros(NODES, dtype=torch.long)}
    assert leaky.observe(model, [alone]).samples == NODES


def test_a_batch_object_of_graphs_is_grouped_as_well() -> None:
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = Graphs()

        def forward(self, data: Any) -> Tensor:
            return self.net(data.x, data.edge_index, data.batch)  # type: ignore[no-any-return]

    record = leaky.observe(Whole(), [SimpleNamespace(**graphs(0))])
    assert {site.samples for site in record.sites} == {GRAPHS}


class Visits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layer(x))


PATIENT = torch.tensor([7, 7, 7, 2, 2, 900, 7, 2])
WAYS: dict[str, tuple[Any, Any]] = {
    "a name": ({"x": torch.randn(8, 6), "patient": PATIENT}, "patient"),
    "a function of a mapping": ({"x": torch.randn(8, 6), "patient": PATIENT}, lambda batch: batch["patient"]),
    "a function of a tuple": ((torch.randn(8, 6), PATIENT), lambda batch: batch[1]),
}


@pytest.mark.parametrize("way", WAYS)
def test_rows_of_one_patient_are_one_sample(way: str) -> None:
    batch, groups = WAYS[way]
    model = Visits()
    x = batch["x"] if isinstance(batch, dict) else batch[0]
    fired = torch.stack([(model.layer(x)[patient == PATIENT] > 0).any(0) for patient in PATIENT.unique()]).sum(0)
    record = leaky.observe(model, [batch], groups=groups)
    assert (record.samples, record.sites[0].samples) == (3, 3)
    assert record.sites[0].statistics.fired.tolist() == fired.tolist()
    assert leaky.observe(model, [batch, batch], groups=groups).samples == 6


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("patients", "groups must name a tensor of the batch, and 'patients' is none of x, patient"),
        (
            lambda batch: batch["x"],
            r"one whole number for each of the 8 rows of the input, not float32 of shape \(8, 6\)",
        ),
        (lambda batch: batch["patient"][:3], r"not int64 of shape \(3,\)"),
        (3, "groups must be True, False, a name in the batch or a function of it, not int"),
    ],
)
def test_what_is_no_grouping(groups: str | Callable[[Any], Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        leaky.observe(Visits(), [{"x": torch.randn(8, 6), "patient": PATIENT}], groups=groups)


def test_a_mask_beside_groups_is_told_to_be_without_effect() -> None:
    class Text(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 8)

        def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
            return torch.relu(self.layer(x)) * attention_mask[..., None]

    mask = (torch.arange(4) < torch.arange(8)[:, None] % 4 + 1).long()
    batch = {"x": torch.randn(8, 4, 6), "attention_mask": mask, "patient": PATIENT}
    assert any("padding" in note for note in leaky.observe(Text(), [batch], groups="patient").notes)


class Attributed(Graphs):
    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor | None = None) -> Tensor:  # type: ignore[override]
        assert batch is not None
        return super().forward(x, edge_index, batch)


class Whole(Graphs):
    def forward(self, graph: tuple[Tensor, Tensor, Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(*graph)


class OtherNames(Graphs):
    def forward(self, nodes: Tensor, adjacency: Tensor, graph_of: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(nodes, adjacency, graph_of)


def in_order(seed: int) -> tuple[Tensor, ...]:
    return tuple(graphs(seed).values())


FORMS: dict[str, tuple[type[Graphs], Callable[[int], Any]]] = {
    "in order": (Graphs, in_order),
    "in order, with a target": (Graphs, lambda seed: (in_order(seed), torch.randn(GRAPHS, 1))),
    "by other names": (OtherNames, in_order),
    "with attributes of edges": (Attributed, lambda s: (*in_order(s)[:2], torch.randn(EDGES, 3), in_order(s)[2])),
    "as one argument": (Whole, lambda seed: (in_order(seed), torch.randn(GRAPHS, 1))),
}


@pytest.mark.parametrize("form", FORMS)
def test_graphs_are_samples_in_whatever_order_their_parts_come(form: str) -> None:
    torch.manual_seed(0)
    kind, make = FORMS[form]
    model, truth_model = kind(), Graphs()
    truth_model.load_state_dict(model.state_dict())
    truth = counted(truth_model, [graphs(0), graphs(1)], named)
    record = leaky.observe(model, [make(0), make(1)])
    assert observed_counts(record) == list(truth.values())


def test_targets_beside_images_are_no_graphs() -> None:
    """Classes in ascending order, and two whole numbers for each of some boxes: not edges of the rows."""
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    x, y = torch.randn(12, 4), torch.arange(12) // 3
    assert leaky.observe(model, [(x, y)]).samples == 12


def test_a_target_stands_behind_the_graph_s_parts() -> None:
    torch.manual_seed(0)

    class Regressor(Attributed):
        def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor | None = None) -> Tensor:  # type: ignore[override]
            return super().forward(x, edge_index, edge_attr, batch)[:GRAPHS].mean(1)

    x, edges, graph_of = in_order(0)
    batch = (x, edges, torch.randn(EDGES, 3), graph_of, torch.randn(GRAPHS))
    record = leaky.observe(Regressor(), [batch], loss=nn.MSELoss())
    assert record.samples == GRAPHS
    assert [term.target.shape for term in record.terms] == [(GRAPHS,)]
