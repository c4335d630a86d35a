"""What healthy networks show: the figures that the limits of diagnosis were set by.

    python -m benchmarks.healthy.limits

trains small networks on scikit-learn's digits, diagnoses each before and after, and prints the worst of every figure
beside the limit that it must stay below. The table is kept in results/healthy.md and shown in docs/rules/README.md.
Takes a few minutes on one core.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import leaky
from leaky.diagnosis import Diagnosis, Thresholds
from leaky.diagnosis.context import Context
from leaky.diagnosis.rules.depth import Trend, range_trend
from leaky.diagnosis.rules.gradient import gradient_trend
from leaky.diagnosis.rules.throughput import imbalance
from leaky.record import BELOW, BEYOND_LOW

RESULT = Path(__file__).parents[1] / "results" / "healthy.md"
SEEDS, EPOCHS, RATE, BATCH = 2, 20, 1e-3, 64
FRESH_DEFAULT, FRESH_HE, TRAINED = "fresh, torch's default", "fresh, He's", "trained"

LIMITS = {
    "dead share": ("dead_warning", max),
    "locked share": ("locked_warning", max),
    "nearly dead share": ("nearly_dead_warning", max),
    "dormant share, inactive apart": ("dormant_warning", max),
    "starved share": ("starved_warning", max),
    "imbalance": ("imbalance_warning", max),
    "share above the threshold": ("sparse_info", min),
    "share of Σz² lost": ("lost_info", max),
    "factor of E h² by depth": ("growth_info", max),
    "factor of the gradient by depth": ("gradient_info", max),
}
"""Each figure, the threshold that it must stay on the good side of, and which of several is the worst."""


def main() -> None:
    torch.set_num_threads(1)
    worst: dict[str, dict[str, float]] = defaultdict(dict)
    for state, figures in measurements():
        for name, value in figures.items():
            worse = LIMITS[name][1]
            worst[name][state] = worse(worst[name].get(state, value), value)
    table = markdown(worst)
    RESULT.write_text(table + "\n", encoding="utf-8")
    print(table)


def measurements() -> Iterator[tuple[str, dict[str, float]]]:
    """The figures of every network, fresh and trained, with its state."""
    digits, labels = load_digits(return_X_y=True)
    raw, y = torch.tensor(digits / 16, dtype=torch.float32), torch.tensor(labels)
    centred = (raw - raw.mean(0)) / (raw.std(0) + 0.1)
    for x in (raw, centred):
        for seed in range(SEEDS):
            for name, build in NETWORKS.items():
                torch.manual_seed(seed)
                net = build()
                yield FRESH_HE if "He" in name else FRESH_DEFAULT, figures_of(net, x, y)
                score = train(net, x, y)
                if score < 0.95:
                    raise SystemExit(f"{name} must train to 95% to count as healthy; it reached {score:.1%}")
                yield TRAINED, figures_of(net, x, y)


def mlp(depth: int, width: int = 64, slope: float = 0.0, he: bool = False, norm: bool = False) -> nn.Sequential:
    """A fully connected network for digits."""
    layers: list[nn.Module] = []
    for fan_in in [64] + [width] * (depth - 1):
        linear = nn.Linear(fan_in, width)
        if he:
            nn.init.kaiming_normal_(linear.weight, a=slope, nonlinearity="leaky_relu")
            nn.init.zeros_(linear.bias)
        layers += [linear, *([nn.BatchNorm1d(width)] if norm else []), nn.LeakyReLU(slope) if slope else nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def cnn() -> nn.Sequential:
    """A small convolutional network for digits."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "2 layers": lambda: mlp(2),
    "3 layers of 256": lambda: mlp(3, 256),
    "5 layers": lambda: mlp(5),
    "5 layers, BatchNorm": lambda: mlp(5, norm=True),
    "convolutional": cnn,
    "5 layers, He": lambda: mlp(5, he=True),
    "10 layers, He": lambda: mlp(10, he=True),
    "10 layers, He, slope .01": lambda: mlp(10, slope=0.01, he=True),
    "10 layers, He, slope .2": lambda: mlp(10, slope=0.2, he=True),
}


def train(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of the samples that are right after training."""
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    net.eval()
    return float((net(x).argmax(1) == y).float().mean())


def figures_of(net: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """The worst of each figure over the network's sites; those of depth only from three sites on."""
    batches = list(zip(x.split(256), y.split(256), strict=True))
    record = leaky.observe(net, batches, loss=lambda out, batch: nn.functional.cross_entropy(out, batch[1]))
    found = leaky.diagnose(record)
    context = Context.of(record, found.thresholds)
    statistics = [site.statistics for site in record.sites]
    figures = {
        "dead share": share(found, "dead"),
        "locked share": max(share(found, "locked_negative"), share(found, "locked_positive")),
        "nearly dead share": share(found, "nearly_dead"),
        "dormant share, inactive apart": share(found, "dormant", apart=("dead", "nearly_dead", "unproven")),
        "starved share": share(found, "starved", apart=("nearly_dead",)),
        "imbalance": max(each.observed for site in record.sites if (each := imbalance(site))),
        "share above the threshold": min(1 - s.counts[: BELOW + 1].sum() / s.counts.sum() for s in statistics),
        "share of Σz² lost": max(s.squares[[BEYOND_LOW, BELOW]].sum() / s.squares.sum() for s in statistics),
    }
    by_depth = {
        "factor of E h² by depth": range_trend(context),
        "factor of the gradient by depth": gradient_trend(context),
    }
    return figures | {name: factor(trend) for name, trend in by_depth.items() if trend}


def share(found: Diagnosis, verdict: str, apart: tuple[str, ...] = ()) -> float:
    """The largest share of a site's units that has the verdict and none of the others."""
    shares = []
    for site in found.record.sites:
        verdicts = found.verdicts[site.name]
        others = {unit for other in apart for unit in getattr(verdicts, other)}
        shares.append(len(set(getattr(verdicts, verdict)) - others) / site.units)
    return max(shares)


def factor(trend: Trend) -> float:
    """First to last or last to first, whichever is larger."""
    return math.exp(abs(trend.log_factor))


def markdown(worst: dict[str, dict[str, float]]) -> str:
    """The table of docs/rules/README.md."""
    states = (FRESH_DEFAULT, FRESH_HE, TRAINED)
    limits = Thresholds().as_dict()
    rows = [
        f"| {name} | "
        + " | ".join(f"{worst[name][state]:.3g}" for state in states)
        + f" | `{limit}` {limits[limit]:g} |"
        for name, (limit, _) in LIMITS.items()
    ]
    return "\n".join([f"| worst of | {' | '.join(states)} | limit |", "|---|---|---|---|---|", *rows])


if __name__ == "__main__":
    main()
