"""Which sample each row is after it was cut, picked, put together or repeated: every row carries its own number."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.structure.operators.running import Sites
from torch import Tensor, nn

from leaky.structure.trace import Tracer

SAMPLES = 6
X = (torch.arange(SAMPLES) + 1.0)[:, None].expand(SAMPLES, 5).contiguous()
"""Row i holds i + 1 throughout, so that a value says which sample it is of; 0 is of none."""


class Rows(nn.Module):
    """A rectifier behind a function of rows."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.rectifier = function, nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.rectifier(self.function(x))


def told_and_true(function: Callable[[Tensor], Tensor]) -> tuple[list[int] | None, list[int]]:
    """The sample of each row at the site as the rules tell it, and as its values show it; None where they do not."""
    model, sites = Rows(function), Sites()
    tracer = Tracer(model, sites)
    with torch.no_grad(), tracer.following([X], 0):
        model(X)
    if not sites.calls:  # what a row or a unit is, is not known any more: the site is listed
        return None, []
    ((call, z),) = sites.calls
    layout = call.layout
    arranged = z.reshape(layout.shape).permute(layout.order).reshape(layout.samples, -1)
    if layout.sample_dim is None:
        return None, []
    assert (arranged == arranged[:, :1]).all(), "a row of one sample"
    shown = [int(value) - 1 for value in arranged[:, 0]]
    return list(range(layout.samples)) if call.ids is None else [int(each) for each in call.ids], shown


def packed(x: Tensor) -> Tensor:
    sequences = x[:, :, None].expand(SAMPLES, 5, 3)
    return nn.utils.rnn.pack_padded_sequence(sequences, torch.tensor([5, 4, 4, 2, 1, 1]), batch_first=True).data


ROWS: dict[str, Callable[[Tensor], Tensor]] = {
    "a slice": lambda x: x[1:4],
    "from behind": lambda x: x[-4:-1],
    "every second": lambda x: x[1::2],
    "narrow": lambda x: x.narrow(0, 2, 3),
    "picked": lambda x: x[torch.tensor([4, 0, 4, 2])],
    "index_select": lambda x: x.index_select(0, torch.tensor([5, 1, 1])),
    "by a mask": lambda x: x[torch.tensor([True, False, True, True, False, True])],
    "in a block": lambda x: x[torch.tensor([[3, 1], [0, 2]])].flatten(0, 1),
    "turned round": lambda x: torch.cat([x[3:], x[:3]]),
    "the last part of two": lambda x: x.chunk(2)[1],
    "the second part": lambda x: x.split([1, 3, 2])[1],
    "one by one": lambda x: torch.stack(x.unbind(0)[::-1]),
    "selected": lambda x: torch.stack([x.select(0, 4), x[1]]),
    "one of them with an axis again": lambda x: torch.cat([x[5].unsqueeze(0), x[2].unsqueeze(0)]),
    "repeated": lambda x: x.repeat(3, 1),
    "each repeated": lambda x: x.repeat_interleave(2, 0),
    "to places": lambda x: nn.functional.one_hot((x[:, 0].long() + 2) % 6, 6).float().T @ x,
    "packed": packed,
}


@pytest.mark.parametrize("way", ROWS)
def test_each_row_is_told_to_be_the_sample_whose_number_it_holds(way: str) -> None:
    told, shown = told_and_true(ROWS[way])
    assert told == shown


def test_a_row_of_a_product_that_takes_no_sample_is_of_none() -> None:
    told, shown = told_and_true(lambda x: nn.functional.one_hot(x[:, 0].long() % 6 + 1, 8).float().T @ x)
    assert told == shown == [-1, 5, 0, 1, 2, 3, 4, -1]


CHAINED = sorted(set(ROWS) - {"packed", "to places"})


def chained(names: list[str]) -> Callable[[Tensor], Tensor]:
    """One after another, while the rows are as many as each of them takes."""

    def function(x: Tensor) -> Tensor:
        for name in names:
            if len(x) >= SAMPLES:
                x = ROWS[name](x[:SAMPLES])
        return x

    return function


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(CHAINED), min_size=2, max_size=4))
def test_what_is_told_after_several_of_them_is_never_another_sample(names: list[str]) -> None:
    told, shown = told_and_true(chained(["each repeated", *names]))
    assert told is None or told == shown


def test_most_chains_are_told() -> None:
    pairs = [(first, CHAINED[i - shift]) for i, first in enumerate(CHAINED) for shift in (0, 5)]
    chains = [["each repeated", *pair] for pair in pairs]
    assert sum(told_and_true(chained(names))[0] is not None for names in chains) >= 0.9 * len(chains)
