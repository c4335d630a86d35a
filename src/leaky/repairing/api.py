"""`leaky.repair`: a plan bound to its model, to be read, edited and applied; and recipes applied to fresh models."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import nn

from leaky.arguments import takes
from leaky.checking import LARGEST_SEED, finite, some_of, whole
from leaky.checkup import Checkup, check
from leaky.errors import InputError
from leaky.observation.calling import calling
from leaky.observation.options import DataArguments
from leaky.repairing.entering import with_moments
from leaky.repairing.executing import Execution
from leaky.repairing.gauge import Limits
from leaky.repairing.outcome import RepairRecord
from leaky.repairing.plan import Action, Left, Plan, Treatment, read_plan
from leaky.repairing.proposing import propose
from leaky.repairing.recipe import Recipe, read_recipe
from leaky.repairing.subject import Subject
from leaky.report.shown import Shown
from leaky.report.view import View
from leaky.text import listed, printable


@dataclass(eq=False)
class Repair(Shown):
    """A plan with the model and the data that it is for. Nothing is touched before `apply`.

    Attributes:
        plan: plain data, to be printed, saved and edited.
        model: the model.
        data: the evidence.
        optimizer: that the plan was made with; None for none.
    """

    plan: Plan
    model: nn.Module
    data: Any
    optimizer: torch.optim.Optimizer | None = None
    _subject: Subject | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to try."""
        return bool(self.plan.treatments)

    def view(self) -> View:
        """What a reader is shown: the plan."""
        return self.plan.view()

    def __repr__(self) -> str:
        names = listed(treatment.name for treatment in self.plan.treatments)
        return printable(f"<Repair of a {type(self.model).__name__}: {names}>")

    @property
    def actions(self) -> tuple[Action, ...]:
        """What is done where nothing can be measured."""
        return self.plan.actions

    @property
    def treatments(self) -> tuple[Treatment, ...]:
        """What is tried, gentlest first."""
        return self.plan.treatments

    @property
    def left(self) -> tuple[Left, ...]:
        """What is left alone, and why."""
        return self.plan.left

    def without(self, *names: str) -> Repair:
        """The same without these treatments, or without what is done at these sites."""
        return Repair(self.plan.without(*names), self.model, self.data, self.optimizer, self._subject)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON."""
        self.plan.save(path)

    def apply(
        self,
        *,
        validate: Callable[[nn.Module], float] | None = None,
        train: Callable[[nn.Module], object] | None = None,
        tolerance: float = 1e-3,
        max_change: float = 0.05,
        higher_is_better: bool = True,
        optimizer: torch.optim.Optimizer | None = None,
        most_trainings: int = 8,
    ) -> RepairRecord:
        """Do it, measure, and keep it or put everything back to the last bit.

        Args:
            validate: the user's metric of a model. A change that it calls better is kept; one that makes it worse by
                more than `tolerance` is not. A metric that does not move, or is no better than that of new networks,
                neither approves nor vetoes.
            train: a short piece of the user's own training of the model, some dozens of steps. With it and `validate`,
                the model as it was and each treatment are trained so, from the same state and random numbers; losers
                stop early, close ones go on, and what learns best is kept with what it learned meanwhile: the gentlest
                of those that are as good, and new weights rather than old ones of no usual size that give no more than
                new ones and do not gain twice as much, since these start faster and end lower; the reason then names
                what led. Optimizers, schedulers, generators and other networks that it holds are put back between
                trainings.
            tolerance: in the metric's own unit.
            max_change: without `validate`, the largest relative change of the outputs that is kept.
            higher_is_better: whether more of the metric is better.
            optimizer: whose state of the changed weights begins anew, and all of it where it remembers gradients of
                another size than come now; parameters stay the same objects, so that groups, schedulers and the loop go
                on. By default the one that the plan was made with, or that `train` holds.
            most_trainings: calls of `train` at most, over all treatments.

        Returns:
            What was done and measured.

        Raises:
            InputError: if `train` comes without `validate`, or another optimizer than that of the plan.
            Whatever an operation, `train` or `validate` raises; model and optimizer are then as they were.
        """
        if train is not None and validate is None:
            raise InputError("train must come with validate, the metric that says which treatment learns best")
        if optimizer is not None and self.optimizer not in (None, optimizer):
            raise InputError("optimizer must be the one that the plan was made with; leave it out, or plan again")
        limits = Limits(tolerance, max_change, higher_is_better, most_trainings)
        subject = self._subject or Subject(self.model, self.data)
        self._subject = None  # what it knows holds for the model as it is now
        subject.seed, subject.optimizer = self.plan.seed, optimizer or self.optimizer
        return Execution(self.plan, subject, validate, train, limits).run()


@dataclass(frozen=True)
class RepairArguments(DataArguments):
    """What is repaired, on which evidence: the arguments of `leaky.repair`.

    Attributes:
        model: left as it is until `Repair.apply`.
        checkup: of this model; or a plan that was made for it, or its file; or the data, if there is none.
        data: the evidence that the checkup was made on, or other data of the kind.
        negative_slope: α of the rectifiers that are put in; revived units get it too where it is given. By default .1
            where a leak is tried, and what theory says for a network that begins anew. 0 for none.
        seed: of new weights.
        include: sites that are treated although they are sparse by design.
        optimizer: that goes on with the model: then the plan says whether it remembers gradients of another size.
    """

    model: nn.Module
    checkup: Any = None
    data: Any = None
    _: KW_ONLY
    negative_slope: float | None = None
    seed: int = 0
    include: Collection[str] = ()
    optimizer: torch.optim.Optimizer | None = None


def _instead(name: str, value: Any) -> str | None:
    if name in inspect.signature(Repair.apply).parameters:
        return f"{name} belongs to the plan that repair gives: leaky.repair(model, data).apply({name}=…)"
    return None


@takes(RepairArguments, _instead)
def repair(given: RepairArguments) -> Repair:
    """Plan the repair of a model: `leaky.repair(model, data)`, or with a checkup of it that was made on the data.

    Each site in trouble is treated in several ways, gentlest first: BatchNorm's statistics estimated anew, biases
    shifted, units revived or recycled, a leak, a layer anew, all anew. `Repair.apply` says which one is kept, on the
    evidence that it is given.

    Returns:
        The plan with its model: print it, apply it.

    Raises:
        InputError: if checkup and model do not belong together, data are missing, or an option is not what it must be.
    """
    model, checkup, data, seed = given.model, given.checkup, given.data, whole("seed", given.seed, 0, LARGEST_SEED)
    negative_slope = None if given.negative_slope is None else finite("negative_slope", given.negative_slope, 0, 1)
    if isinstance(checkup, Recipe) or (
        isinstance(checkup, Mapping) and checkup.get("kind") in ("recipe", "leaky-recipe")
    ):
        raise InputError("a recipe is applied by leaky.apply_recipe(model, recipe); repair takes a checkup or data")
    examined = checkup is None or isinstance(checkup, Plan | Checkup | str | os.PathLike)
    data, checkup = (calling(data, given.forward), checkup) if examined else (data, calling(checkup, given.forward))
    plan = checkup if isinstance(checkup, Plan) else None
    if isinstance(checkup, str | os.PathLike):
        plan = read_plan(checkup)
    if plan is not None:
        return Repair(with_moments(plan, given.optimizer), model, _needed(data, "a plan"), given.optimizer)
    if not isinstance(checkup, Checkup):
        if (checkup is None) == (data is None):
            raise InputError("repair must have data to examine the model on: leaky.repair(model, data)")
        subject = Subject(model, data if checkup is None else checkup, seed=seed)
        checkup = check(model, subject.data, seed=0)
    else:
        subject = Subject(model, _needed(data, "a checkup"), seed=seed)
    _check_same(subject, checkup)
    subject.known(checkup.record)
    some_of("include", given.include, {site.name for site in checkup.record.sites})
    plan = propose(subject, checkup, negative_slope=negative_slope, include=given.include)
    return Repair(with_moments(plan, given.optimizer), model, subject.data, given.optimizer, subject)


def apply_recipe(model: nn.Module, recipe: Recipe | Mapping[str, Any] | str | os.PathLike[str]) -> nn.Module:
    """Put what weights cannot hold of a repair into a freshly built model, so that repaired weights load into it.

    Args:
        model: built as the repaired one was before its repair; changed in place.
        recipe: of the repair's record, its data or its file.

    Returns:
        The same model.

    Raises:
        InputError: if model and recipe do not belong together; the model is then as it was.
    """
    return (recipe if isinstance(recipe, Recipe) else read_recipe(recipe)).apply(model)


def _needed(data: Any, what: str) -> Any:
    if data is None:
        raise InputError(f"repair must have the data that {what} is for: leaky.repair(model, checkup, data)")
    return data


def _check_same(subject: Subject, checkup: Checkup) -> None:
    known = subject.ground.structure.sites
    sites = checkup.record.sites
    if sites and not any(site.name in known for site in sites):
        raise InputError(f"the checkup must be of this model; none of its sites ({sites[0].name!r}, …) is in it")
    for seen in sites:
        if seen.name in known and known[seen.name].units != seen.units:
            raise InputError(
                f"the checkup must be of this model: it has {seen.units} units at {seen.name!r}, and the model "
                f"{known[seen.name].units}"
            )
