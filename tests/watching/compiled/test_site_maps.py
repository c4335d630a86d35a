"""Plans of compiled passes: numbers that graphs call sites by, and which sites a mask is enough for."""

from __future__ import annotations

import gc
import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.structure.operators.running import Quiet
from torch import Tensor, nn

from leaky.observation.riding.structure import KnownCall, Structure
from leaky.structure.axes import Layout
from leaky.structure.listening import SiteCall
from leaky.structure.trace import Tracer
from leaky.watching.compiled import operators
from leaky.watching.compiled.site_maps import (
    Meeting,
    SiteMap,
    calls_of,
    meeting_numbered,
    site_map_numbered,
    site_map_of,
    site_map_of_parts,
)


class Calls(Quiet):
    """Keeps the calls of sites."""

    def __init__(self) -> None:
        self.calls: list[SiteCall] = []

    def before(self, call: SiteCall, pre_activation: Tensor) -> Tensor | None:
        self.calls.append(call)
        return None


def call_of(module: nn.Module, *between: nn.Module) -> SiteCall:
    """The call of an activation behind a layer."""
    calls, model = Calls(), nn.Sequential(nn.Linear(3, 4), *between, module)
    x = torch.randn(5, 3)
    with torch.no_grad(), Tracer(model, calls).following([x], 0):
        model(x)
    return calls.calls[0]


ANY = call_of(nn.ReLU())


def known(site: str, in_place: bool = False, call: SiteCall = ANY) -> KnownCall:
    return KnownCall(site, call.activation, call.layout, call.node.shape, in_place)


def learned(draw: random.Random, model: nn.Module) -> tuple[SiteMap, Structure, dict[KnownCall, SiteCall]]:
    """The sites of a structure at random: modules that run once or more, functions some of whose calls are sites."""
    modules = {child: [known(f"m{i}", draw.random() < 0.5) for _ in range(draw.randrange(1, 4))]
               for i, child in enumerate(model.children())}  # fmt: skip
    functions: dict[Any, list[KnownCall | None]] = {
        function: [draw.choice([None, known(f"{function.__name__}#{n}")]) for n in range(draw.randrange(1, 5))]
        for function in (torch.relu, torch.clamp)
    }
    structure = Structure(modules, functions)
    order = structure.calls
    draw.shuffle(order)
    calls = {each: SiteCall(each.site, each.activation, ANY.node, ANY.layout, None, None) for each in order}
    site_map = site_map_of(model)
    site_map.learn(structure, calls)
    return site_map, structure, calls


@pytest.mark.parametrize("seed", range(5))
def test_every_call_is_found_by_its_number_and_they_run_in_the_order_of_the_pass(seed: int) -> None:
    model = nn.Sequential(*(nn.ReLU() for _ in range(3)))
    site_map, structure, calls = learned(random.Random(seed), model)
    assert site_map is site_map_of(model) is site_map_numbered(site_map.number)
    assert [meeting.call for meeting in site_map.meetings] == list(calls.values())
    numbers = [meeting.number for meeting in site_map.meetings]
    assert len({*numbers, *site_map.by_module.values(), site_map.number}) == len(numbers) + len(site_map.by_module) + 1
    for meeting in site_map.meetings:
        assert meeting is meeting_numbered(meeting.number)
        assert meeting.site_map is site_map
        assert not meeting.known.in_place  # a graph hands over what was there before
    for module, expected in structure.by_module.items():
        found = calls_of(site_map.by_module[module])
        assert [(each.call, each.in_place) for each in found] == [(calls[each], each.in_place) for each in expected]
    for function, places in structure.by_function.items():
        met = [None if each is None else each.call for each in site_map.by_function[function]]
        assert met == [None if each is None else calls[each] for each in places]


def test_with_its_module_a_plan_is_forgotten_and_no_other() -> None:
    models = [nn.Sequential(nn.ReLU(), nn.ReLU()) for _ in range(2)]
    site_maps = [learned(random.Random(seed), model)[0] for seed, model in enumerate(models)]
    parts = site_map_of_parts(models[0])
    assert parts is not site_maps[0]
    assert parts is site_map_numbered(parts.number)
    numbers = [[meeting.number for meeting in site_map.meetings] for site_map in site_maps]
    keys = [list(site_map.by_module.values()) for site_map in site_maps]
    gone, stays = site_maps[0].number, site_maps[1].number
    del models[0], site_maps[0]
    gc.collect()
    assert not operators.PASSAGES.keys() & {gone, parts.number}
    assert not operators.MEETINGS.keys() & {*numbers[0]}
    for key in keys[0]:
        with pytest.raises(KeyError):
            calls_of(key)
    assert site_map_numbered(stays) is site_maps[0]
    assert operators.MEETINGS.keys() >= {*numbers[1]}
    assert [calls_of(key) for key in keys[1]]


def test_between_two_watches_nobody_is_told() -> None:
    model = nn.Sequential(nn.ReLU())
    site_map, _, _ = learned(random.Random(0), model)
    meeting, z = site_map.meetings[0], torch.ones(2)
    told: list[Any] = []
    assert meeting.take(z) == -1
    meeting.follow(z)
    meeting.arrive(z, z, 3)
    site_map.begin([z], True)
    site_map.end([], [])

    def tell(name: str, answer: Any = None) -> Any:
        return lambda *what: (told.append((name, what)), answer)[1]

    passes: Any = SimpleNamespace(
        running=True,
        take=tell("take", 7),
        follow=tell("follow"),
        arrive=tell("arrive"),
        open=tell("open"),
        close=tell("close"),
    )
    site_map.passes = passes
    assert meeting.take(z) == 7
    meeting.follow(z)
    meeting.arrive(z, z, 0)
    site_map.begin([z], False)
    site_map.end([z, z], [meeting.number, -meeting.number])
    assert [name for name, _ in told] == ["take", "follow", "arrive", "open", "take", "follow", "close"]
    assert told[2][1] == (meeting, z, z, 0)
    opened, module, batch, with_gradient = told[3][1]
    assert (opened, module, batch.args, with_gradient) == (site_map, model, (z,), False)
    assert told[4][1] == told[5][1] == (meeting, z)
    assert told[6][1] == (site_map, True)


ACTIVATIONS: dict[str, nn.Module] = {
    "ReLU": nn.ReLU(),
    "ReLU in place": nn.ReLU(inplace=True),
    "LeakyReLU": nn.LeakyReLU(0.1),
    "LeakyReLU in place": nn.LeakyReLU(0.1, inplace=True),
    "ELU": nn.ELU(),
    "ReLU6": nn.ReLU6(),
    "ReLU6 in place": nn.ReLU6(inplace=True),
    "Threshold": nn.Threshold(0.2, 0.0),
    "PReLU": nn.PReLU(),
    "SiLU": nn.SiLU(),
    "GELU": nn.GELU(),
    "Softplus": nn.Softplus(),
}


def keeps_its_input(module: nn.Module) -> bool:
    """Whether autograd keeps the pre-activation for the way back."""
    z = torch.linspace(-3, 3, 16, requires_grad=True) * 1.0
    before, kept = z.detach().clone(), []

    def pack(value: Tensor) -> Tensor:
        kept.append(value.shape == before.shape and torch.equal(value.detach(), before))
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        module(z)
    return any(kept)


@pytest.mark.parametrize("behind_a_norm", [False, True])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_parts_the_gradient_is_no_value_that_autograd_has_no_need_of(name: str, behind_a_norm: bool) -> None:
    module = ACTIVATIONS[name]
    call = call_of(module, *(nn.LayerNorm(4),) * behind_a_norm)
    layout: Layout = call.layout
    activation, in_place = call.activation, name.endswith("in place")
    meeting = Meeting(0, KnownCall("1", activation, layout, (5, 4), False), call, in_place, SiteMap(0, lambda: None))
    bounded = activation.cap is not None or activation.floor is not None  # three regions, which one bit cannot part
    freed = not keeps_its_input(module) and not bounded
    assert (meeting.by_output, meeting.masked) == (freed and not behind_a_norm, freed and behind_a_norm)
    assert meeting.kept == (in_place and bounded)
