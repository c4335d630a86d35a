"""Names of sites last: they never depend on who calls leaky, on counters of the process, or on autocast around it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import leaky


def inside_torch() -> dict[str, tuple[nn.Module, torch.Tensor]]:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 1, enable_nested_tensor=False)
    return {
        "encoder": (nn.Sequential(nn.Linear(6, 8), encoder), torch.randn(5, 30, 6)),
        "recurrent": (nn.RNN(6, 8, nonlinearity="relu", batch_first=True), torch.randn(30, 5, 6)),
        "cell": (nn.RNNCell(6, 8, nonlinearity="relu"), torch.randn(30, 6)),
    }


@pytest.mark.parametrize("name", inside_torch())
def test_what_torch_calls_itself_has_no_line_of_the_caller(name: str) -> None:
    model, data = inside_torch()[name]
    first = leaky.observe(model, [data])
    second = leaky.observe(model, [data])
    assert [site.source for site in first.sites] == [None]
    assert [site.samples for site in first.merge(second).sites] == [2 * first.sites[0].samples]


def test_an_exported_program_has_the_same_names_each_time_it_is_opened() -> None:
    model, data = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU()), torch.randn(30, 8)
    program = torch.export.export(model, (data[:3],), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    names = [[site.name for site in leaky.observe(program.module(), data).sites] for _ in range(2)]
    assert names[0] == names[1] == ["relu#1", "relu#2"]


def test_autocast_around_the_observation_splits_no_site() -> None:
    model, data = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4), nn.LeakyReLU()), torch.randn(50, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(data)
        record = leaky.observe(model, data, batch_size=20)
    assert [(site.name, site.samples) for site in record.sites] == [("1", 50), ("3", 50)]
    assert [site.producers[0].name for site in record.sites] == ["0.weight", "2.weight"]
