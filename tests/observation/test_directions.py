"""The directions that an observation records, against all pairs of the pre-activations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import leaky


def cosine_of_pairs(z: torch.Tensor) -> float:
    unit = torch.nn.functional.normalize(z.detach().double().flatten(1), dim=1)
    together = unit @ unit.T
    return float((together.sum() - together.trace()) / (len(z) * (len(z) - 1)))


@pytest.mark.parametrize("batch_size", [7, 64, 1000])
def test_the_mean_cosine_is_that_of_all_pairs_however_the_samples_came(batch_size: int) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 5), nn.LeakyReLU(0.2)), torch.randn(64, 6) + 1
    record = leaky.observe(model, x, batch_size=batch_size)
    for site, z in zip(record.sites, (model[0](x), model[:3](x)), strict=True):
        assert site.directions is not None
        assert site.directions.samples == 64
        assert site.directions.cosine == pytest.approx(cosine_of_pairs(z), abs=1e-6)


def test_a_pre_activation_that_its_site_writes_over_is_seen_before_that() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 40), torch.randn(64, 6)
    plain, over = (leaky.observe(nn.Sequential(layer, nn.ReLU(inplace=flag)), x).sites[0] for flag in (False, True))
    assert plain.directions is not None
    assert over.directions is not None
    assert (plain.directions.sums == over.directions.sums).all()


def test_a_large_pre_activation_is_seen_at_evenly_chosen_entries() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU()), torch.rand(40, 1, 14, 14)
    (site,) = leaky.observe(model, x).sites
    assert site.directions is not None
    assert site.directions.sums.shape == (128,)
    z = model[0](x).flatten(2)[:, :, :: 144 // 8][:, :, :8]
    assert site.directions.cosine == pytest.approx(cosine_of_pairs(z), abs=1e-6)


def test_samples_without_a_direction_are_left_out() -> None:
    model, x = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU()), torch.randn(20, 4)
    x[3], x[5, 0] = 0.0, torch.nan
    (site,) = leaky.observe(model, x).sites
    assert site.directions is not None
    assert site.directions.samples == 18
    assert np.isfinite(site.directions.sums).all()


def test_a_batch_of_no_sample_adds_nothing() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), torch.randn(20, 4)
    (site,) = leaky.observe(model, [x, torch.zeros(0, 4)]).sites
    assert site.directions is not None
    assert site.directions.samples == 20
    assert site.directions.cosine == pytest.approx(cosine_of_pairs(model[0](x)), abs=1e-6)


def test_sequences_of_several_lengths_have_none_and_a_saved_record_keeps_them(tmp_path: object) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    (site,) = leaky.observe(model, [torch.randn(9, 5, 4), torch.randn(9, 7, 4)]).sites
    assert site.directions is None
    record = leaky.observe(model, torch.randn(9, 4))
    record.save(f"{tmp_path}/record.json")
    back = leaky.load(f"{tmp_path}/record.json")
    assert isinstance(back, leaky.Record)
    assert back.sites[0].directions is not None
    assert record.sites[0].directions is not None
    assert (back.sites[0].directions.sums == record.sites[0].directions.sums).all()
