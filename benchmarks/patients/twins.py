"""What healthy twins are like in the figures by which a repair tells trouble: the limits stand apart from them.

    python -m benchmarks.patients.twins [--kind WORD]

Prints, of each twin 150 and 550 steps into its training, the largest deviation of a site's pre-activations and the
size of the mean gradient ÷ root of the mean square that Adam keeps, in the middle tensor.
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import torch

import leaky
from benchmarks.patients.kinds import KINDS, Patient
from benchmarks.patients.methods import STEPS, evidence
from benchmarks.patients.strangers import STRANGERS
from leaky.repairing.operations.moments import ratio_of


def main() -> None:
    parser = argparse.ArgumentParser(description="What healthy twins are like.")
    parser.add_argument("--kind", default="", help="only kinds with this word in their name")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'twin':36}{'deviation':>12}{'later':>12}{'moments':>12}{'later':>12}")
    for kind in (*KINDS, *STRANGERS):
        if options.kind in kind.name:
            _, twin = kind.pair(0)
            first = _figures(twin)
            twin.steps(STEPS, 1000)
            rows = [f"{value:>12.3g}" for pair in zip(first, _figures(twin), strict=True) for value in pair]
            print(f"{kind.name[:36]:36}" + "".join(rows), flush=True)


def _figures(patient: Patient) -> tuple[float, float]:
    record = leaky.observe(patient.model, evidence(patient), max_samples=400)
    deviations = [float(np.sqrt(np.nanmean(site.variance))) for site in record.sites if not site.is_output]
    groups = patient.optimizer.param_groups
    ratios = [
        found[0]
        for group in groups
        for parameter in group["params"]
        if (found := ratio_of(patient.optimizer.state.get(parameter, {}), group.get("betas"))) is not None
    ]
    return max(deviations, default=float("nan")), statistics.median(ratios) if ratios else float("nan")


if __name__ == "__main__":
    main()
