"""Studies of a torch model: fair between slopes, and stacks that train each variant as it trains alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.tuning import objectives
from torch import Tensor, nn
from torch.nn import functional

from leaky import LeakyReLU
from leaky.errors import InputError
from leaky.theory import gain, tailored_slope
from leaky.tuning import tune
from leaky.tuning.arms import Arm, arms_of
from leaky.tuning.engines.batched import BatchedEngine
from leaky.tuning.engines.stacked_training import WHOLE, train_stacked
from leaky.tuning.engines.stacking import CannotStackError, stacked_nodes
from leaky.tuning.engines.training import LocalEngine, train
from leaky.tuning.rectifiers import exchange, rectifier_names
from leaky.tuning.task import Task
from leaky.tuning.trial import Cell


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_a_seed_gives_every_slope_the_same_numbers_scaled_to_its_gain_and_the_same_data_order() -> None:
    task = objectives.task()
    low, high = (task.model(Arm(slope), 3).get_parameter("0.weight").detach() for slope in (0.0, 0.5))
    assert torch.allclose(high / low, torch.tensor(gain(0.5) / gain(0.0)))
    assert all(torch.equal(*pair) for pair in zip(task.order(3), task.order(3), strict=True))
    assert not torch.equal(task.order(3)[0], task.order(4)[0])


def test_validation_is_apart_from_training_and_test() -> None:
    task = objectives.task(valid=0.25)
    kept, chosen = task.split(1)
    assert (len(kept), len(chosen)) == (180, 60)
    rows = {tuple(row.tolist()) for row in task.data.inputs[kept]}
    assert all(tuple(row.tolist()) not in rows for row in chosen.inputs)
    assert set(torch.cat(task.order(1)).flatten().tolist()) <= set(kept.tolist())
    assert not torch.equal(kept, task.split(2)[0])
    apart = objectives.task(valid=objectives.blobs(30, seed=4))
    assert len(apart.split(1)[0]) == len(apart.data)
    assert len(apart.split(1)[1]) == 30


@pytest.mark.parametrize("name", ["prelu", "elu", "gelu", "silu"])
def test_rectifiers_are_exchanged(name: str) -> None:
    model = exchange(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Sequential(LeakyReLU(0.2))), name)
    kinds = [type(module).__name__.lower() for module in model.modules()]
    assert kinds.count(name) == 2
    assert rectifier_names(exchange(nn.Sequential(nn.ReLU()), 0.3)) == ["0"]


def test_a_module_is_never_changed_itself() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    before = weights(model)
    study = tune(model, train=objectives.blobs(), slopes=(0.0, 0.2), seeds=3, epochs=1, confirm=0, patience=0)
    assert torch.equal(before, weights(model))
    assert isinstance(model[1], nn.ReLU)
    assert len(study.trials) == 6


def test_tailored_is_the_slope_of_theory_for_the_model() -> None:
    def deep(slope: float) -> nn.Module:
        hidden = [layer for _ in range(19) for layer in (nn.Linear(8, 8), nn.LeakyReLU(slope))]
        return nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(slope), *hidden, nn.Linear(8, 3))

    assert objectives.task(build=deep).slope_of(Arm("tailored")) == pytest.approx(
        tailored_slope(20).negative_slope, abs=0.02
    )


def test_a_study_of_a_torch_model_reports_scores_on_test_data_and_what_became_of_the_units() -> None:
    state = torch.random.get_rng_state()
    study = tune(
        objectives.mlp,
        train=objectives.blobs(),
        valid=0.25,
        test=objectives.blobs(90, seed=9),
        slopes=(0.0, 0.1, "prelu", "tailored"),
        seeds=3,
        epochs=2,
        worth=0.9,
    )
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(trial.outcome == "finished" for trial in study.trials)
    assert all(0 <= trial.measurements["dead_share"] <= 1 for trial in study.trials)
    assert study.reported is not None
    assert study.reported.source == "test data"
    assert study.higher_is_better
    assert len(study.trials[0].curve) == 2


def test_a_regression_is_judged_by_its_loss() -> None:
    inputs = torch.randn(120, 6, generator=torch.Generator().manual_seed(0))
    task = objectives.task(train=(inputs, inputs[:, :3]))
    assert not task.higher_is_better
    (trial,) = LocalEngine(task, {"0.1": Arm(0.1)}).run([Cell("0.1", 0)])
    assert trial.score is not None
    assert trial.score > 0


def test_a_rate_that_explodes_is_a_result() -> None:
    inputs = torch.randn(120, 6, generator=torch.Generator().manual_seed(0))
    task = objectives.task(train=(inputs, inputs[:, :3]), optimizer=lambda p: torch.optim.SGD(p, lr=1e6))
    arms = {"0.1": Arm(0.1), "0.2": Arm(0.2)}
    cells = [Cell("0.1", 0), Cell("0.2", 0)]
    for engine in (LocalEngine(task, arms), BatchedEngine(task, arms, width=WHOLE)):
        trials = list(engine.run(cells))
        assert [trial.outcome for trial in trials] == ["diverged", "diverged"]
        assert "at step 1" in trials[0].reason


class Convolutional(nn.Module):
    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.second, self.pool = nn.Conv2d(4, 8, 3, padding=1, groups=2), nn.MaxPool2d(2)
        self.head = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(functional.leaky_relu(self.norm(self.first(x)), self.slope))
        x = x + functional.leaky_relu(x, self.slope)
        return self.head(torch.flatten(functional.leaky_relu(self.second(x), negative_slope=self.slope), 1))


def normalised(slope: float) -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 8),
        nn.LayerNorm(8),
        LeakyReLU(slope),
        nn.Linear(8, 8),
        nn.BatchNorm1d(8),
        nn.GELU(),
        nn.Linear(8, 3),
    )


def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(160, 1, 4, 4, generator=generator), torch.arange(160) % 3


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3)


def slow_sgd(parameters: Any) -> torch.optim.Optimizer:
    # at a high rate, rounding decides which of two close maxima a pool takes, and the variants part
    return torch.optim.SGD(parameters, lr=0.01)


STACKABLE: dict[str, Callable[[], Task]] = {
    "mlp-sgd": lambda: objectives.task(epochs=6, optimizer=sgd),
    "mlp-adam": lambda: objectives.task(epochs=6),
    "convolutions": lambda: objectives.task(build=Convolutional, train=images(), epochs=6, optimizer=slow_sgd),
    "norms": lambda: objectives.task(build=normalised, epochs=6, optimizer=sgd),
    "own-loss": lambda: objectives.task(epochs=6, optimizer=sgd, loss=functional.cross_entropy),
}


@pytest.mark.parametrize("kind", STACKABLE)
@pytest.mark.parametrize("slopes", [(0.0, 0.01, 0.3), ("prelu", "silu")], ids=["fixed", "named"])
@pytest.mark.parametrize("width", [WHOLE, 1])
def test_a_stack_trains_each_variant_as_it_trains_alone(kind: str, slopes: tuple[float | str, ...], width: int) -> None:
    task = STACKABLE[kind]()
    if kind == "convolutions" and isinstance(slopes[0], str):
        task = objectives.task(
            build=lambda a: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)),
            train=images(),
            epochs=6,
        )
    arms = {arm.label: arm for arm in arms_of(slopes)}
    engine = BatchedEngine(task, arms, width=WHOLE)
    groups = engine.variants.groups([Cell(label, seed) for label in arms for seed in (0, 1)])
    assert sum(map(len, groups.values())) == 2 * len(arms)
    for group in groups.values():
        with torch.random.fork_rng(devices=[]):
            curves, models, _ = train_stacked(task, group, width=width)
            for variant, curve, model in zip(group, curves, models, strict=True):
                losses: dict[int, float] = {}
                alone = train(task, variant.arm, variant.cell.seed, losses.__setitem__)
                distance = (weights(model) - weights(alone)).norm() / weights(alone).norm()
                assert float(distance) < 1e-6, variant.arm
                assert dict(curve) == pytest.approx(losses, rel=1e-4)
                for (name, mine), (_, theirs) in zip(model.named_buffers(), alone.named_buffers(), strict=True):
                    assert torch.allclose(mine, theirs, atol=1e-5), name


class Deciding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.rectifier = nn.Linear(6, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.rectifier(self.layer(x)) if x.sum() > 0 else self.layer(x)


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 3))
    model[0].register_forward_hook(lambda *args: None)
    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Deciding, "depends on data"),
        (hooked, "hooks"),
        (lambda: nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)), "Softmax has no stacked form"),
        (lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular")), "padding mode 'circular'"),
        (lambda: nn.Sequential(nn.Flatten(0)), "from dimension 1"),
        (TwoInputs, "more than one input"),
    ],
)
def test_what_cannot_be_stacked_is_refused_by_name(model: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(CannotStackError, match=words):
        stacked_nodes(model())


def by_shape(parameters: Any) -> torch.optim.Optimizer:
    listed = list(parameters)
    groups = [
        {"params": [p for p in listed if (p.ndim > 1) == matrix], "weight_decay": 0.1 * matrix} for matrix in (0, 1)
    ]
    return torch.optim.SGD(groups, lr=0.1)


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [(by_shape, "number of dimensions"), (lambda p: torch.optim.Rprop(p), "Rprop may not")],
)
def test_an_optimizer_that_a_stack_would_mislead_trains_one_by_one_and_says_why(optimizer: Any, words: str) -> None:
    study = tune(
        objectives.task(optimizer=optimizer, epochs=1), slopes=(0.0, 0.1), seeds=3, confirm=0, engine="batched"
    )
    assert words in study.engine
    assert all(trial.outcome == "finished" for trial in study.trials)


def test_engines_agree_on_a_study() -> None:
    settings: dict[str, Any] = {"slopes": (0.0, 0.1, 0.3, "prelu"), "seeds": 3, "budget": "fixed", "confirm": 0}
    scores = []
    for engine in ("local", "batched", "auto"):
        study = tune(objectives.task(), engine=engine, **settings)
        scores.append({(trial.arm, trial.seed): trial.score for trial in study.trials})
    assert scores[0] == pytest.approx(scores[1], abs=0.02)
    assert scores[0] == pytest.approx(scores[2], abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"train": objectives.blobs(), "epochs": 0}, "epochs must be at least 1"),
        ({"train": objectives.blobs(), "batch_size": 500}, "at most the 192 samples"),
        ({"train": objectives.blobs(), "valid": 1.0}, "leaves samples on both sides"),
        ({"train": objectives.blobs(), "speed": 3}, "must be those of leaky.tuning.Task"),
        ({"train": (torch.zeros(4, 2), torch.zeros(3))}, "as many targets as inputs"),
        ({"train": torch.zeros(4)}, "must be a pair"),
        ({"train": objectives.blobs(), "initialization": "lucky"}, "initialization must be one of"),
    ],
)
def test_a_wrong_task_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        tune(objectives.mlp, slopes=(0.0, 0.1), **arguments)


def test_a_build_that_ignores_its_slope_is_found_out() -> None:
    with pytest.raises(InputError, match="must return a model with a rectifier of that slope"):
        tune(lambda slope: objectives.mlp(0.5), train=objectives.blobs(), slopes=(0.0, 0.1))


def test_names_need_rectifiers_that_are_modules() -> None:
    with pytest.raises(InputError, match="functional calls cannot be exchanged"):
        tune(Convolutional, train=images(), slopes=(0.0, "prelu"))
