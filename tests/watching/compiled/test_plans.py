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
from leaky.watching.compiled.plans import (
    Meeting,
    Plan,
    calls_of,
    meeting_numbered,
    plan_numbered,
    plan_of,
    plan_of_parts,
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


def learned(draw: random.Random, model: nn.Module) -> tuple[Plan, Structure, dict[KnownCall, SiteCall]]:
    """A plan of a structure at random: modules that run once or more, functions some of whose calls are sites."""
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
    plan = plan_of(model)
    plan.learn(structure, calls)
    return plan, structure, calls


@pytest.mark.parametrize("seed", range(5))
def test_every_call_is_found_by_its_number_and_they_run_in_the_order_of_the_pass(seed: int) -> None:
    model = nn.Sequential(*(nn.ReLU() for _ in range(3)))
    plan, structure, calls = learned(random.Random(seed), model)
    assert plan is plan_of(model) is plan_numbered(plan.number)
    assert [meeting.call for meeting in plan.meetings] == list(calls.values())
    numbers = [meeting.number for meeting in plan.meetings]
    assert len({*numbers, *plan.by_module.values(), plan.number}) == len(numbers) + len(plan.by_module) + 1
    for meeting in plan.meetings:
        assert meeting is meeting_numbered(meeting.number)
        assert meeting.plan is plan
        assert not meeting.known.in_place  # a graph hands over what was there before
    for module, expected in structure.by_module.items():
        found = calls_of(plan.by_module[module])
        assert [(each.call, each.in_place) for each in found] == [(calls[each], each.in_place) for each in expected]
    for function, places in structure.by_function.items():
        met = [None if each is None else each.call for each in plan.by_function[function]]
        assert met == [None if each is None else calls[each] for each in places]


def test_with_its_module_a_plan_is_forgotten_and_no_other() -> None:
    models = [nn.Sequential(nn.ReLU(), nn.ReLU()) for _ in range(2)]
    plans = [learned(random.Random(seed), model)[0] for seed, model in enumerate(models)]
    parts = plan_of_parts(models[0])
    assert parts is not plans[0]
    assert parts is plan_numbered(parts.number)
    numbers = [[meeting.number for meeting in plan.meetings] for plan in plans]
    keys = [list(plan.by_module.values()) for plan in plans]
    gone, stays = plans[0].number, plans[1].number
    del models[0], plans[0]
    gc.collect()
    assert not operators.PASSAGES.keys() & {gone, parts.number}
    assert not operators.MEETINGS.keys() & {*numbers[0]}
    for key in keys[0]:
        with pytest.raises(KeyError):
            calls_of(key)
    assert plan_numbered(stays) is plans[0]
    assert operators.MEETINGS.keys() >= {*numbers[1]}
    assert [calls_of(key) for key in keys[1]]


def test_between_two_watches_nobody_is_told() -> None:
    model = nn.Sequential(nn.ReLU())
    plan, _, _ = learned(random.Random(0), model)
    meeting, z = plan.meetings[0], torch.ones(2)
    told: list[Any] = []
    assert meeting.take(z) == -1
    meeting.follow(z)
    meeting.arrive(z, z, 3)
    plan.begin([z], True)
    plan.end()

    def tell(name: str, answer: Any = None) -> Any:
        return lambda *what: (told.append((name, what)), answer)[1]

    passes: Any = SimpleNamespace(
        take=tell("take", 7), follow=tell("follow"), arrive=tell("arrive"), open=tell("open"), close=tell("close")
    )
    plan.passes = passes
    assert meeting.take(z) == 7
    meeting.follow(z)
    meeting.arrive(z, z, -1)  # of a pass that was not observed
    meeting.arrive(z, z, 0)
    plan.begin([z], False)
    plan.end()
    assert [name for name, _ in told] == ["take", "follow", "arrive", "open", "close"]
    assert told[2][1] == (meeting, z, z, 0)
    opened, module, batch, with_gradient = told[3][1]
    assert (opened, module, batch.args, with_gradient) == (plan, model, (z,), False)
    assert told[4][1] == (plan, True)


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
    meeting = Meeting(0, KnownCall("1", activation, layout, (5, 4), False), call, in_place, Plan(0, lambda: None))
    bounded = activation.cap is not None or activation.floor is not None  # three regions, which one bit cannot part
    freed = not keeps_its_input(module) and not bounded
    assert (meeting.by_output, meeting.masked) == (freed and not behind_a_norm, freed and behind_a_norm)
    assert meeting.kept == (in_place and bounded)
