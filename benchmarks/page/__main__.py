"""`python -m benchmarks.page`: size and times of the page of 200 layers × 1,000 units, in headless Chromium.

Each page is opened several times in a fresh context; the medians are printed and kept in results/page.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from leaky.diagnosis import diagnose
from leaky.record import GradientStatistics, Record, Site, UnitStatistics
from leaky.report.page import Page, checkup_page

RESULTS = Path(__file__).parents[1] / "results" / "page.json"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
NETWORKS = ((8, 64), (50, 256), (200, 1000), (100, 16384))
"""(layers, units a layer)."""
SAMPLES = 1797

OPENED = "() => performance.now()"
SLIDER = """async () => {
    const slider = document.querySelector("input[data-slope=range]");
    const times = [];
    for (let step = 1; step <= 20; step++) {
        const begin = performance.now();
        slider.value = String(step / 20);
        slider.dispatchEvent(new Event("input"));
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        times.push(performance.now() - begin);
    }
    return times.sort((a, b) => a - b)[10];
}"""


def network(layers: int, units: int) -> Record:
    """Layers whose units have means of their own, by their sums: numbers that no two units share."""
    random = np.random.default_rng(0)
    return Record("benchmark", "made up", "eval", SAMPLES, 8, tuple(_site(random, at, units) for at in range(layers)))


def _site(random: np.random.Generator, at: int, units: int) -> Site:
    mean, deviation = random.normal(-0.3, 0.6, units), random.lognormal(0, 0.3, units)
    linear = random.binomial(SAMPLES, 1 / (1 + np.exp(-1.7 * mean / deviation)))
    linear[random.random(units) < 0.05] = 0
    counts = np.zeros((4, units), np.int64)
    counts[1], counts[2] = SAMPLES - linear, linear
    sums, squares, gradients = (np.zeros((4, units)) for _ in range(3))
    for region, sign in ((1, -1), (2, 1)):
        size = np.abs(random.normal(0.8, 0.1, units)) * deviation
        sums[region] = sign * counts[region] * size
        squares[region] = counts[region] * size**2 * random.uniform(1.3, 1.8, units)
        gradients[region] = counts[region] * random.lognormal(-8, 0.5, units)
    statistics_ = UnitStatistics(
        samples=SAMPLES,
        fired=linear,
        counts=counts,
        sums=sums,
        squares=squares,
        minimum=mean - 3.3 * deviation,
        maximum=np.where(linear > 0, np.abs(mean + 3.3 * deviation), -0.01),
        nonfinite=np.zeros(units, np.int64),
        last_fired=np.where(linear > 0, 7, -1),
        gradient=GradientStatistics(SAMPLES, np.sqrt(gradients), gradients),
    )
    return Site(f"blocks.{at // 10}.{at % 10}.relu", "ReLU", np.zeros(units), statistics_)


def measured(browser: Any, path: Path, repeats: int) -> dict[str, float]:
    """Medians of the milliseconds until everything is drawn, and of a step of the slider."""
    opened, stepped = [], []
    for _ in range(repeats):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_selector("html[data-drawn]", timeout=60_000)
        opened.append(page.evaluate(OPENED))
        stepped.append(page.evaluate(SLIDER))
        context.close()
    return {"open_ms": statistics.median(opened), "slider_step_ms": statistics.median(stepped)}


def row(browser: Any, layers: int, units: int, repeats: int) -> dict[str, Any]:
    """The figures of one network."""
    diagnosis = diagnose(network(layers, units))
    begin = time.perf_counter()
    page: Page = checkup_page(diagnosis)
    html = page.one_file()
    seconds = time.perf_counter() - begin
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(html, "utf-8")
        found = measured(browser, path, repeats)
    return {"layers": layers, "units": units, "bytes": len(html.encode()), "make_seconds": seconds, **found}


def main() -> None:
    """Print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        rows = [row(browser, layers, units, options.repeats) for layers, units in NETWORKS]
        version = browser.version
        browser.close()
    print(f"{'layers × units':>16} {'MB':>6} {'made in s':>10} {'drawn in ms':>12} {'slider step ms':>15}")
    for each in rows:
        print(
            f"{each['layers']:>8} × {each['units']:<6}{each['bytes'] / 1e6:>6.2f} {each['make_seconds']:>10.2f} "
            f"{each['open_ms']:>12.0f} {each['slider_step_ms']:>15.1f}"
        )
    options.out.write_text(json.dumps({"chromium": version, "rows": rows}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
