"""The thresholds that the alarms of a training that is watched decide by."""

from __future__ import annotations

from dataclasses import dataclass

from leaky.diagnosis.threshold import HEALTHY, number, share


@dataclass(frozen=True)
class TrainingThresholds:
    """Thresholds of the reports of a training. Shares are of a site's units unless said otherwise."""

    stopped_warning: float = share(
        0.4, "share of a site's units that have stopped firing from which on it is a warning", HEALTHY
    )
    others_active: float = share(
        0.75,
        "firing of the units that are left ÷ that of all at first, below which those that died are harm",
        "agents that learn: .84 and more; collapses over tasks: .69 and less",
    )
    collapse_share: float = share(
        0.5, "share of silent units at which a layer counts as collapsed, for its projected step", "SageMaker DeadRelu"
    )
    collapse_rise: float = share(
        0.3, "rise of the share of silent units within the last reports that makes a projection", HEALTHY
    )
    drift_warning: float = number(
        1e4,
        "factor of E z² of a site over its first reports from which on it is a warning",
        "a dozen small trainings",
        low=1,
    )
    rate_rise: float = number(
        10, "the optimizer's rate ÷ its first one from which on it is blamed where ranges drift", "convention", low=1
    )
    spike_warning: float = number(
        30,
        "gradient of a report ÷ the usual one, from which on it is a warning",
        "a dozen small trainings",
        low=1,
    )
    spike_error: float = number(1e4, "the same: error", "squares overflow half precision", low=1)
    update_warning: float = number(
        0.3, "‖ΔW‖ ÷ ‖W‖ of one optimizer step from which on it is a warning", "a hundred times the usual 1e-3"
    )
    update_error: float = number(1.0, "the same: error", "the step is as long as the weights")
    update_steady: float = number(
        0.1, "the same of every report, from which on it is a warning", "healthy trainings stay below .06"
    )
    update_tiny: float = number(
        1e-6, "the same of every step since the start, up to which nothing is learned", "the last bits of float32"
    )
    update_moved: float = share(
        0.03,
        "share of a half-precision weight's entries that any step has moved, up to which steps are rounded away",
        "trainings that learn: .04 to 1",
    )
    starved_weight: float = share(
        1e-4, "‖g‖·‖W‖ of a weight ÷ the model's largest, report after report, up to which it is starved", HEALTHY
    )
    loss_rise: float = share(
        1.0,
        "rise of the loss ÷ how far it had fallen, from which on, beyond chance, it is a warning",
        "value functions that learn (DQN, PPO): .6 at most",
    )
    loss_error: float = number(4, "the same rise ÷ its standard error, without which nothing is said", "convention")
    batch_order: float = number(
        10, "n·Var(x̄) ÷ Var(x) of batches from which on they are no random draws", "healthy trainings: 2.6"
    )
    step_back: float = share(
        0.97, "cosine of a step with the gradient after it from which on steps go to and fro", HEALTHY
    )
    weight_speed: float = number(
        0.014, "steady growth of ln ‖W‖ a step, either way, from which on it is a warning", "a quarter in 16 steps"
    )
    weight_gain: float = number(
        3, "√(fan-in · E w²) without which growing weights are let grow", "twice what keeps a rectifier's range"
    )
    changed_aside: float = share(
        0.004,
        "change of ‖W‖ a step by others than the optimizer: warning",
        "a fiftieth in 5 steps",
    )
    taken_back: float = share(
        0.9, "share of each step that others take back: warning", "one put back whole: 1; looking ahead: ½ or over 1"
    )
    even_gradient: float = share(
        0.9, "(E|g|)² ÷ E g² from which on one term may outweigh the samples", "healthy classifiers: .73 at most"
    )
    proportional_gradient: float = share(
        0.95, "correlation over units of ln E g² with ln E h² from which on the same is said", "healthy trainings: .82"
    )
    pressed_output: float = share(
        0.5, "share of the first E h² up to which such a term is said to press a site", "penalties press to a tenth"
    )
    cut_off: float = share(
        0.03, "share of the first E g² of a site, beside the last site's, up to which it is cut off", "healthy: .11"
    )
    alike_share: float = share(
        0.98, "(E z)² ÷ E z², the median over units, from which on it is a warning", "healthy trainings: .88"
    )
    alike_output: float = share(
        0.9,
        "the same of what the model gives, by entries, and more than at first",
        "healthy ones: .76, over 5 looks",
    )
    expert_share: float = share(
        0.05, "an expert that is given less than this part of an even share of the samples is idle", "convention"
    )
    codes_idle: float = share(
        0.6, "share of a table's codes that are never chosen from which on it is a warning", "as dead units: error"
    )
    asleep_samples: float = number(
        1e7, "samples without firing after which a unit is asleep, as dead latents are called", "Gao et al. 2024", low=1
    )
    srank_delta: float = share(
        0.01, "δ of the effective rank: the part of the singular values' sum that is left out", "Kumar et al. 2021"
    )
