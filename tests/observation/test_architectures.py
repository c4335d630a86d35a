"""Units and samples in pieces of well-known architectures.

Which rows are one sample is held against the network itself: another input for one sample may move that sample's row
of (samples, units, positions) and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.observation import architectures as zoo
from torch import Tensor, nn

import leaky
from leaky.observation.reduction import as_units
from leaky.structure.listening import SiteCall
from leaky.structure.trace import Tracer

N = 9
IMAGE = (N, 3, 8, 8)

ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], list[int]]] = {
    "squeeze and excite": (zoo.SqueezeExcite, IMAGE, [4, 8]),
    "u-net": (zoo.UNet, IMAGE, [8, 16, 8, 8]),
    "convnext": (zoo.ConvNeXt, (N, 8, 6, 6), [32, 8]),
    "shifted windows": (zoo.Windows, IMAGE, [16, 16]),
    "mlp-mixer": (zoo.Mixer, (N, 5, 8), [7, 16]),
    "lstm": (lambda: zoo.Recurrent(nn.LSTM), (N, 4, 6), [16, 8]),
    "gru": (lambda: zoo.Recurrent(nn.GRU), (N, 4, 6), [16, 8]),
    "learned queries": (zoo.Queries, (N, 5, 8), [16]),
    "checkpointing": (zoo.Checkpointed, (N, 6), [8]),
    "gated unit": (zoo.Gated, (N, 6), [8]),
    "pointnet": (zoo.PointNet, (N, 5, 3), [8, 5]),
    "einsum": (zoo.Einsum, (N, 6), [8]),
    "autocast": (zoo.Autocast, IMAGE, [8, 5]),
    "pixel shuffle": (zoo.PixelShuffle, IMAGE, [4]),
    "weight norm and group norm": (zoo.WeightNorm, (N, 3, 7), [8]),
    "concatenated relu": (zoo.ConcatenatedReLU, (N, 6), [8, 8]),
    "data parallel": (lambda: nn.DataParallel(nn.Sequential(nn.Linear(6, 8), nn.ReLU())), (N, 6), [8]),
}


class Keeper:
    """Keeps what each site saw as (samples, units, positions)."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def before(self, call: SiteCall, pre_activation: Tensor) -> None:
        self.seen.append(as_units(pre_activation, call.layout).clone())

    def after(self, call: SiteCall, output: Tensor) -> None:
        pass

    def between(self) -> None:
        pass

    def not_examined(self, name: str, reason: str) -> None:
        assert "saturate" in reason, f"{name}: {reason}"


def seen(model: nn.Module, data: Tensor) -> list[Tensor]:
    keeper = Keeper()
    with torch.no_grad(), Tracer(model, keeper).following([data], 0):
        model(data)
    return keeper.seen


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_units_and_samples(name: str) -> None:
    torch.manual_seed(0)
    build, shape, units = ARCHITECTURES[name]
    record = leaky.observe(build(), torch.randn(shape))
    assert [(site.units, site.samples) for site in record.sites] == [(count, N) for count in units]
    gated = name in ("squeeze and excite", "lstm", "gru")
    assert [("saturate" in item.reason) for item in record.not_examined] == [True] * gated


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_row_is_a_sample(name: str) -> None:
    torch.manual_seed(0)
    build, shape, units = ARCHITECTURES[name]
    model, data = build().eval(), torch.randn(shape)
    other = data.clone()
    other[4] = 3 * torch.randn(shape[1:])
    before, after = seen(model, data), seen(model, other)
    assert len(before) == len(units)
    for old, new in zip(before, after, strict=True):
        moved = (old - new).abs().amax((1, 2)) > 1e-3
        assert moved.nonzero().flatten().tolist() == [4]


@pytest.mark.parametrize("name", ["convnext", "u-net", "pointnet", "einsum", "checkpointing", "gru"])
def test_a_column_is_a_unit(name: str) -> None:
    """Moving what makes one unit moves that unit's column alone."""
    torch.manual_seed(0)
    build, shape, _ = ARCHITECTURES[name]
    model, data = build().eval(), torch.randn(shape)
    site = leaky.observe(model, data).sites[-1]
    weight = dict(model.named_parameters())[site.producers[0].name]
    before = seen(model, data)[-1]
    rows = 1 if weight.shape[1] == site.units and weight.shape[0] != site.units else 0
    rows = 0 if "." in site.producers[0].name else rows
    with torch.no_grad():
        weight.select(rows, 2).add_(1.0)
    moved = (before - seen(model, data)[-1]).abs().amax((0, 2)) > 1e-4
    assert moved.nonzero().flatten().tolist() == [2]


def observed(model: nn.Module, *inputs: Any) -> list[tuple[int, int]]:
    return [(site.units, site.samples) for site in leaky.observe(model, list(inputs)).sites]


def test_models_with_several_inputs() -> None:
    torch.manual_seed(0)
    edges = torch.randint(N, (2, 20))
    assert observed(zoo.MessagePassing(), {"x": torch.randn(N, 6), "e": edges}) == [(8, N), (8, N)]
    styles = {"x": torch.randn(IMAGE), "z": torch.randn(N, 4)}
    assert observed(zoo.ModulatedConvolution(), styles) == [(8, N)]


def test_rows_mixed_by_a_constant_matrix_stay_samples() -> None:
    assert observed(zoo.Adjacency(), torch.randn(N, 6)) == [(8, N)]


def test_an_expert_has_seen_the_samples_that_were_sent_to_it() -> None:
    torch.manual_seed(0)
    model, data = zoo.Experts(), torch.randn(N, 6)
    sent = model.g(data).argmax(1).bincount(minlength=2).tolist()
    assert observed(model, data) == [(8, count) for count in sent]


def test_each_member_of_an_ensemble_has_units_of_its_own() -> None:
    assert observed(zoo.Ensemble(), torch.randn(N, 6)) == [(3 * 8, N)]


def test_a_packed_sequence_counts_each_of_its_sequences_as_a_sample() -> None:
    """Its rows are steps of several sequences; how many are as long as each step says of which."""
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(5, 4, 6), torch.tensor([4, 4, 3, 2, 1]), batch_first=True)
    record = leaky.observe(nn.RNN(6, 8, nonlinearity="relu", batch_first=True), [packed, packed])
    assert record.samples == 10
    assert [(site.units, site.samples) for site in record.sites] == [(8, 10)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_frozen_and_exported_models_run_in_the_mode_they_have() -> None:
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval(), torch.randn(N, 6)
    exported = torch.export.export(model, (data,)).module()
    for fixed in (torch.jit.freeze(torch.jit.script(model)), exported):
        record = leaky.observe(fixed, data)
        assert [(site.units, site.samples) for site in record.sites] == [(8, N)]
        assert any("no mode to choose" in note for note in record.notes)


@pytest.mark.parametrize("how", [torch.jit.script, lambda model: torch.jit.trace(model, torch.randn(4, 6))])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_site_of_a_frozen_model_is_one_on_every_batch(how: Callable[[nn.Module], Any]) -> None:
    """In its first passes it is compiled, which compares its constants with one another, in another order each time."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    record = leaky.observe(torch.jit.freeze(how(model)), [torch.randn(n, 6) for n in (20, 20, 20, 7)])
    assert [(site.units, site.samples) for site in record.sites] == [(8, 67), (3, 67)]


def test_the_heads_are_the_units_of_a_score() -> None:
    record = leaky.observe(zoo.ReluAttention(), torch.randn(N, 4, 6))
    ((units, samples),) = [(site.units, site.samples) for site in record.sites]
    assert (units, samples) == (2, N)


def test_what_has_no_unit_axis_is_listed() -> None:
    record = leaky.observe(nn.Sequential(nn.ReLU()), torch.randn(N, 4, 6))
    assert (record.sites, len(record.not_examined)) == ((), 1)
    assert "unit axis could not be told" in record.not_examined[0].reason


def test_what_is_fused_in_eval_mode_is_seen_in_training() -> None:
    tokens = leaky.observe(zoo.TokenEncoder().train(), torch.randint(20, (N, 4)), mode="train")
    assert [(site.units, site.samples) for site in tokens.sites] == [(16, N), (16, N), (5, N)]
