"""Codes of a quantiser that are never chosen, beside tables of words and of places, of which nobody says so."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import leaky
from leaky.watching.alarm import Alarm

CODES = 16


class Quantiser(nn.Module):
    """The nearest of the codes, of which so many lie where the samples are."""

    def __init__(self, near: int) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(8, 4), nn.Linear(4, 8)
        self.codes = nn.Embedding(CODES, 4)
        with torch.no_grad():
            self.encode.weight.copy_(torch.eye(4, 8))
            self.codes.weight[:] = 100.0
            self.codes.weight[CODES - near :] = 0.7 * torch.nn.functional.normalize(torch.randn(near, 4), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.encode(x)
        return self.decode(self.codes(torch.cdist(z, self.codes.weight).argmin(1)))


class Words(nn.Module):
    """Words, of which only the first few come, or places of a sequence that is shorter than the table."""

    def __init__(self, places: bool) -> None:
        super().__init__()
        self.table, self.body, self.head = nn.Embedding(64, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.places = places

    def forward(self, x: Tensor) -> Tensor:
        h = x[:, :, None] + self.table(torch.arange(x.shape[1])) if self.places else self.table(x)
        return self.head(self.body(h).relu().mean(1))


def told(model: nn.Module, whole: bool = False, steps: int = 80) -> list[Alarm]:
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    with leaky.watch(model, optimizer, alarms=["choices"], on_alarm=lambda alarm: None) as watch:
        for _ in range(steps):
            x = torch.randint(8, (64, 8)) if whole else torch.randn(64, 8)
            optimizer.zero_grad()
            (model(x) - x.float()).square().mean().backward()
            optimizer.step()
    return watch.alarms


@pytest.mark.parametrize(("near", "level"), [(16, None), (12, "info"), (6, "warning"), (1, "warning")])
def test_codes_that_are_never_chosen_are_named_and_a_warning_where_they_are_most(near: int, level: str | None) -> None:
    torch.manual_seed(0)
    found = [alarm.finding for alarm in told(Quantiser(near))]
    assert [each.level for each in found] == [level] * (level is not None)
    for each in found:
        assert dict(each.evidence)["codes"] == list(range(CODES - near))
        assert f"{CODES - near} of {CODES} codes in 'codes'" in each.message


@pytest.mark.parametrize("places", [True, False])
def test_words_that_are_rare_and_places_that_are_not_reached_are_no_codes(places: bool) -> None:
    torch.manual_seed(0)
    assert told(Words(places), whole=not places, steps=300) == []


def test_too_few_samples_say_nothing_of_a_large_table() -> None:
    torch.manual_seed(0)
    model = Quantiser(16)
    model.codes = nn.Embedding(1000, 4)
    assert told(model, steps=40) == []
