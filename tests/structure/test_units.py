"""Whose weights are whose, by autograd: ∂z/∂w of a unit's pre-activation, and what a unit's output does to a layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import leaky
from leaky.structure.analysis import Analysis
from leaky.structure.label_rules import NONE


class Named(nn.Module):
    """Layers by name, and a forward pass over them."""

    def __init__(self, run: Callable[[Named, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def mlp() -> tuple[nn.Module, Tensor]:
    layers = [nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 4), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(4, 3)), torch.randn(90, 5)


def cnn() -> tuple[nn.Module, Tensor]:
    layers = [nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 2, groups=2)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)), torch.randn(40, 2, 8, 8)


def transposed() -> tuple[nn.Module, Tensor]:
    layers = [nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), nn.ReLU(), nn.ConvTranspose2d(6, 4, 2, groups=2)]
    return nn.Sequential(*layers), torch.randn(3, 4, 3, 3)


def shuffled() -> tuple[nn.Module, Tensor]:
    def run(m: Named, x: Tensor) -> Tensor:
        h = m.act(m.first(x))
        h = h.reshape(len(h), 2, 3, *h.shape[2:]).transpose(1, 2).reshape(h.shape)
        return m.second(h)

    layers = {"first": nn.Conv2d(2, 6, 3), "act": nn.ReLU(), "second": nn.Conv2d(6, 4, 1, groups=2)}
    return Named(run, **layers), torch.randn(3, 2, 5, 5)


def joined() -> tuple[nn.Module, Tensor]:
    def run(m: Named, x: Tensor) -> Tensor:
        return m.last(m.act(torch.cat([m.left(x), m.right(x)], 1)))

    layers = {"left": nn.Linear(5, 3), "right": nn.Linear(5, 2), "act": nn.ReLU(), "last": nn.Linear(5, 4)}
    return Named(run, **layers), torch.randn(6, 5)


def permuted() -> tuple[nn.Module, Tensor]:
    def run(m: Named, x: Tensor) -> Tensor:
        return m.last(m.act(m.first(x)).flip(1).permute(0, 2, 1).flatten(1))

    layers = {"first": nn.Conv1d(2, 5, 3), "act": nn.ReLU(), "last": nn.Linear(20, 3)}
    return Named(run, **layers), torch.randn(4, 2, 6)


def tokens() -> tuple[nn.Module, Tensor]:
    layers = [nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 5)]
    return nn.Sequential(*layers), torch.randn(3, 4, 5)


NETWORKS = [mlp, cnn, transposed, shuffled, joined, permuted, tokens]


def prepared(make: Callable[[], tuple[nn.Module, Tensor]]) -> tuple[nn.Module, Tensor, Analysis]:
    torch.manual_seed(0)
    model, x = make()
    model, x = model.double().eval(), x.double()
    for module in model.modules():  # nothing may be zero or one by chance
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                tensor.data.uniform_(0.5, 1.5)
    analysis = leaky.analyse(model, x)
    return model, x, analysis


def seen_at(model: nn.Module, name: str, x: Tensor, output: bool = False) -> Tensor:
    """The input of a module in one pass, or its output."""
    kept: list[Tensor] = []
    hook = model.get_submodule(name).register_forward_hook(
        lambda module, inputs, out: kept.append(out if output else inputs[0])
    )
    model(x)
    hook.remove()
    return kept[0]


def of_unit(value: Tensor, unit: int) -> Tensor:
    """What belongs to a unit: the second axis of images, the last one else."""
    return value.select(1 if value.ndim == 4 or value.shape[1:] == (5, 4) else -1, unit)


@pytest.mark.parametrize("make", NETWORKS)
def test_each_element_that_makes_a_unit_moves_its_pre_activation_and_no_other(
    make: Callable[[], tuple[nn.Module, Tensor]],
) -> None:
    model, x, analysis = prepared(make)
    parameters = dict(model.named_parameters())
    for name, site in analysis.structure.sites.items():
        assert site.made, "every site has weights of its own here"
        z = seen_at(model, name, x)
        owners = [(made.weight, made.owner) for made in site.made]
        owners += [made.bias for made in site.made if made.bias is not None]
        owners += [
            (norm, owner)
            for made in site.made
            for channelled in made.norms
            for norm, owner in channelled.owners.items()
            if norm in parameters
        ]
        assert {unit for _, owner in owners for unit in owner.unique().tolist()} - {NONE} == set(range(site.units))
        for unit in range(site.units):
            part = of_unit(z, unit)
            mask = torch.rand(part.shape, dtype=z.dtype) + 0.5
            weights = [parameters[weight] for weight, _ in owners]
            slopes = torch.autograd.grad((part * mask).sum(), weights, retain_graph=True)
            for (weight, owner), slope in zip(owners, slopes, strict=True):
                assert torch.equal(slope != 0, owner == unit), (name, unit, weight)


@pytest.mark.parametrize("make", NETWORKS)
def test_each_element_that_takes_a_unit_meets_its_output_and_no_other(
    make: Callable[[], tuple[nn.Module, Tensor]],
) -> None:
    model, x, analysis = prepared(make)
    for name, site in analysis.structure.sites.items():
        followers = [taken for taken in site.taken if taken.weight in dict(model.named_parameters())]
        for taken in followers:
            layer = taken.weight.rpartition(".")[0]
            weight = model.get_parameter(taken.weight)

            def slope(unit: int | None, name: str = name, layer: str = layer, weight: Tensor = weight) -> Tensor:
                def disturb(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
                    changed = out.clone()
                    of_unit(changed, unit).add_(5.0)
                    return changed

                hook = model.get_submodule(name).register_forward_hook(disturb) if unit is not None else None
                out = seen_at(model, layer, x, output=True)
                mask = torch.rand(out.shape, generator=torch.Generator().manual_seed(0), dtype=out.dtype) + 0.5
                if hook is not None:
                    hook.remove()
                return torch.autograd.grad((out * mask).sum(), weight)[0]

            before = slope(None)
            for unit in range(site.units):
                assert torch.equal(slope(unit) != before, taken.owner == unit), (name, unit, taken.weight)
    assert any(site.taken for site in analysis.structure.sites.values())


def test_a_unit_behind_a_shortcut_is_not_its_weights_alone() -> None:
    def run(m: Named, x: Tensor) -> Tensor:
        h = m.stem(x)
        return m.last(h + m.second(m.act(m.first(h))))

    torch.manual_seed(0)
    sizes = {"stem": (5, 6), "first": (6, 6), "second": (6, 6), "last": (6, 3)}
    model = Named(run, act=nn.ReLU(), **{name: nn.Linear(*size) for name, size in sizes.items()})
    site = leaky.analyse(model, torch.randn(4, 5)).site("act")
    assert [made.weight for made in site.made] == ["first.weight"]
    assert [taken.weight for taken in site.taken] == ["second.weight"]
    assert all(site.refusal(unit) is None for unit in range(6))

    def around(m: Named, x: Tensor) -> Tensor:
        h = m.act(m.first(x))
        return m.last(h + m.second(h))

    model = Named(around, act=nn.ReLU(), first=nn.Linear(5, 6), second=nn.Linear(6, 6), last=nn.Linear(6, 3))
    site = leaky.analyse(model, torch.randn(4, 5)).site("act")
    assert {taken.weight for taken in site.taken} >= {"second.weight"}
    assert all(site.refusal(unit) for unit in range(6))


@pytest.mark.parametrize("mixing", [lambda h: functional.layer_norm(h, h.shape[1:]), lambda h: torch.softmax(h, 1)])
def test_units_that_are_mixed_behind_the_site_are_not_alone(mixing: Callable[[Tensor], Tensor]) -> None:
    model = Named(
        lambda m, x: m.last(mixing(m.act(m.first(x)))), first=nn.Linear(5, 6), act=nn.ReLU(), last=nn.Linear(6, 3)
    )
    site = leaky.analyse(model, torch.randn(4, 5)).site("act")
    assert site.taken == []
    assert set(site.not_alone) == set(range(6))


def test_a_module_that_runs_twice_is_two_sites_and_a_weight_that_is_shared_belongs_to_nobody() -> None:
    layers = {"first": nn.Linear(5, 5), "second": nn.Linear(5, 5), "act": nn.ReLU(), "other": nn.ReLU()}
    twice = Named(lambda m, x: m.second(m.act(m.second(m.act(m.first(x))))), **layers)
    sites = leaky.analyse(twice, torch.randn(4, 5)).structure.sites
    assert list(sites) == ["act", "act#2"]
    assert all(sites["act#2"].refusal(unit) for unit in range(5))
    alone = Named(lambda m, x: m.act(m.second(m.act(m.first(x)))), **layers)
    sites = leaky.analyse(alone, torch.randn(4, 5)).structure.sites
    assert [made.weight for made in sites["act#2"].made] == ["second.weight"]
    shared = Named(lambda m, x: m.act(m.first(x)) + m.other(m.first(x + 1)), **layers)
    for site in leaky.analyse(shared, torch.randn(4, 5)).structure.sites.values():
        assert all(site.not_made.get(unit) for unit in range(5))
