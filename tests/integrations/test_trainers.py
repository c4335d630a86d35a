"""Each callback in the real trainer: what reaches its logger is read back, and the training is the same without it."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

DEAD = 14
"""Units of the first layer that are held below 0 from the start."""


def network() -> nn.Sequential:
    """Of its 16 rectified units, all but two are dead, too few for four classes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    with torch.no_grad():
        model[0].bias[:DEAD] = -100.0
    return model


def data(samples: int = 1280) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(samples, 8, generator=generator)
    return x, (x[:, 0] > 0).long()


ALARMED = {"dead_warning": 0.05, "dead_error": 0.1}
"""Thresholds by which the dead units are an alarm."""


def knows_its_optimizer(callback: Any, steps: int) -> bool:
    """Whether the watches of a callback counted these steps, from the first on, and measured updates in each report.

    The last report holds what steps were left, none of which may have been measured.
    """
    watches = callback.adapter.watches.values()
    updates = np.concatenate([each.history[site]["update"][:-1] for each in watches for site in each.history])
    return {each.step_number for each in watches} == {steps} and len(updates) > 0 and bool((updates > 0).all())


def hooks_of(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Trainers warn about workers, devices and each other; their files go to a folder of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_event_file(folder: Path) -> dict[str, list[float]]:
    """Scalars by tag, from TensorBoard's own event files."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found: dict[str, list[float]] = {}
    for file in folder.rglob("events.out.tfevents*"):
        events = accumulator.EventAccumulator(str(file))
        events.Reload()
        for tag in events.Tags()["scalars"]:
            found.setdefault(tag, []).extend(event.value for event in events.Scalars(tag))
    return found


def texts_of(folder: Path) -> list[str]:
    """The alarms' texts in TensorBoard's event files."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = []
    for file in folder.rglob("events.out.tfevents*"):
        events = accumulator.EventAccumulator(str(file))
        events.Reload()
        for tag in events.Tags()["tensors"]:
            if tag.startswith("leaky/alarm"):
                found += [event.tensor_proto.string_val[0].decode() for event in events.Tensors(tag)]
    return found


def test_lightning(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    loggers = pytest.importorskip("lightning.pytorch.loggers")
    pytest.importorskip("tensorboard")
    pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    from leaky.integrations.lightning import Watch

    store = tmp_path / "mlflow.db"

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def training_step(self, batch: Any, index: int) -> Any:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def fit(callbacks: list[Any]) -> Module:
        module = Module()
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            callbacks=callbacks,
            logger=[
                loggers.TensorBoardLogger(str(tmp_path)),
                loggers.MLFlowLogger("leaky", tracking_uri=f"sqlite:///{store}"),
            ],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
        )
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=32)
        trainer.fit(module, loader)
        return module

    callback = Watch(sites=True, thresholds=ALARMED, alarms=["dead"])
    plain, watched = fit([]), fit([callback])
    assert knows_its_optimizer(callback, 40)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), watched.parameters(), strict=True))
    assert hooks_of(watched) == 0
    scalars = read_event_file(tmp_path)
    assert scalars["leaky/dead"][-1] == pytest.approx(DEAD / 16)
    assert scalars["leaky/net.1/gradient"][-1] > 0
    assert scalars["leaky/alarms"][-1] == 1
    assert any("units are dead" in text for text in texts_of(tmp_path))
    with contextlib.closing(sqlite3.connect(store)) as database:
        kept = database.execute("select value from metrics where key = 'leaky/dead' order by step desc").fetchone()
    assert kept[0] == pytest.approx(DEAD / 16)


def test_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from leaky.integrations.transformers import Watch

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.net(x)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    class Reporter(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
        """As a reporter of the trainer's own: in the list before any of the user's."""

        def __init__(self) -> None:
            self.seen: list[dict[str, float]] = []

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            self.seen.append(dict(logs))

    x, y = data()
    rows = [{"x": x[i], "labels": y[i]} for i in range(len(x))]
    reporter, model = Reporter(), Model()
    arguments = transformers.TrainingArguments(
        str(tmp_path), num_train_epochs=1, per_device_train_batch_size=16, gradient_accumulation_steps=2,
        logging_steps=10, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    callback = Watch(sites=["net.1"], thresholds=ALARMED, alarms=["dead"])
    trainer = transformers.Trainer(model, arguments, train_dataset=rows, callbacks=[reporter, callback])
    trainer.train()
    assert knows_its_optimizer(callback, 40)
    assert hooks_of(model) == 0
    logged = [each for each in reporter.seen if "leaky/dead" in each]
    assert logged, "the reporter stands before the callback in the list, and still gets the scalars"
    assert logged[-1]["leaky/dead"] == pytest.approx(DEAD / 16)
    assert math.isfinite(logged[-1]["leaky/net.1/gradient"])
    assert logged[-1]["leaky/alarms"] == 1
    assert any("leaky/dead" in each for each in trainer.state.log_history)


def test_keras() -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras was imported with another backend before")
    from leaky.integrations.keras import Watch

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.layers.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(4)]
    )
    kernel, bias = model.layers[0].get_weights()
    bias[:DEAD] = -100.0
    model.layers[0].set_weights([kernel, bias])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = (part.numpy() for part in data())
    history = model.fit(
        x, y, epochs=2, batch_size=32, verbose=0, callbacks=[Watch(thresholds=ALARMED, alarms=["dead"])]
    )
    assert history.history["leaky/dead"][-1] == pytest.approx(DEAD / 16)
    assert history.history["leaky/alarms"][-1] == 1


def test_skorch() -> None:
    skorch = pytest.importorskip("skorch")
    from leaky.integrations.skorch import Watch

    x, y = (part.numpy() for part in data())
    callback = Watch(thresholds=ALARMED, alarms=["dead"])
    net = skorch.NeuralNetClassifier(
        network,
        criterion=nn.CrossEntropyLoss,
        max_epochs=2,
        batch_size=32,
        verbose=0,
        callbacks=[("leaky", callback)],
    )
    net.fit(x, np.asarray(y, np.int64))
    assert knows_its_optimizer(callback, 2 * 32)
    assert net.history[-1]["leaky/dead"] == pytest.approx(DEAD / 16)
    assert net.history[-1]["leaky/alarms"] == 1
    told = [row["leaky/alarm_texts"] for row in net.history if "leaky/alarm_texts" in row]
    assert len(told) == 1
    assert "units are dead" in told[0][0]
    assert hooks_of(net.module_) == 0


@pytest.mark.parametrize("algorithm", ["DQN", "PPO", "SAC"])
def test_stable_baselines3(tmp_path: Path, algorithm: str) -> None:
    library = pytest.importorskip("stable_baselines3")
    logger = pytest.importorskip("stable_baselines3.common.logger")
    pytest.importorskip("tensorboard")
    from leaky.integrations.stable_baselines3 import Watch

    short = {
        "DQN": {"learning_starts": 50, "train_freq": 1, "batch_size": 32},
        "PPO": {"n_steps": 64, "batch_size": 32, "n_epochs": 4},
        "SAC": {"learning_starts": 50, "train_freq": 1, "batch_size": 32},
    }[algorithm]
    world = "Pendulum-v1" if algorithm == "SAC" else "CartPole-v1"
    agent = getattr(library, algorithm)(
        "MlpPolicy", world, seed=0, device="cpu", policy_kwargs={"activation_fn": nn.ReLU}, **short
    )
    agent.set_logger(logger.configure(str(tmp_path), ["tensorboard"]))
    callback = Watch(sites=True, report_every=5)
    steps: list[int] = []
    optimizer = agent.policy.actor.optimizer if algorithm == "SAC" else agent.policy.optimizer
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    agent.learn(320, callback=callback, log_interval=1)
    assert knows_its_optimizer(callback, len(steps))
    agent.logger.dump(320)
    assert hooks_of(agent.policy) == 0
    scalars = read_event_file(tmp_path)
    assert any(name.startswith("leaky/") and name.endswith("/gradient") for name in scalars), sorted(scalars)
    assert "leaky/alarms" in scalars
