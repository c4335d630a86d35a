// A study: the answer, the score of each slope, what separates it from the reference, and what it does to units.

import * as Plot from "@observablehq/plot";
import { chart, keys, tipStyle } from "./chart";
import { palette } from "./colour";
import type { Columns, Stored } from "./data";
import { h, section } from "./dom";
import { counted, number, share } from "./format";
import { pageFooter, pageHeader, type Tone } from "./header";
import { sortable } from "./table";

interface Arm {
  label: string;
  mean: number | null;
  trainings: number;
  failed: number;
  in_best_set: boolean;
  difference: number | null;
  low: number | null;
  high: number | null;
}

interface Trial {
  arm: string;
  seed: number;
  score: number | null;
  test: number | null;
  outcome: string;
  measurements: Record<string, number>;
}

export interface Content {
  kind: "study";
  verdict: string;
  level: Tone;
  subtitle: string;
  reference: string;
  recommended: string | null;
  higher_is_better: boolean;
  worth: number | null;
  arms: Arm[];
  trials: Trial[];
  curves: { arm: string; seed: number; steps: Stored; values: Stored }[];
  measurements: Record<string, string>;
  failures: [string, string, string, string][];
  notes: string[];
}

const ROW = 30;

export function studyPage(content: Content, columns: Columns): HTMLElement[] {
  const charts = [scores(content), differences(content), ...measurements(content)].filter((each) => each !== null);
  const curves = content.curves.length ? curveChart(content, columns) : null;
  const parts: HTMLElement[] = [];
  if (charts.length) {
    parts.push(section("slopes", "Slope by slope", "The best first; a dot each training. Trainings of one seed start alike, so slopes are compared seed by seed.",
      h("div", { class: "charts" }, ...charts, curves)));
  }
  if (content.arms.length) parts.push(ranking(content));
  if (content.failures.length) {
    parts.push(section("failures", "Trainings that failed", null,
      sortable("Failed trainings", ["slope", "seed", "what", "why"].map((name, place) =>
        ({ name, text: true, by: (row: string[]) => row[place] ?? "", cell: (row: string[]) => row[place] ?? "" })), content.failures)));
  }
  const words = content.recommended === null ? "Nothing is recommended" : `Recommended: ${content.recommended}`;
  return [
    pageHeader("study", content.verdict, content.subtitle, content.level, [["slopes", "Slopes"], ["ranking", "Ranking"]], words),
    ...parts, pageFooter(content.notes, {}),
  ];
}

function labels(content: Content): string[] {
  return content.arms.map((arm) => arm.label);
}

function rows(content: Content): { y: Plot.ScaleOptions; height: number; marginLeft: number } {
  const longest = Math.max(...labels(content).map((label) => label.length));
  return {
    y: { type: "band", domain: labels(content), label: null, tickSize: 0 },
    height: 46 + ROW * content.arms.length,
    marginLeft: Math.min(120, 24 + 6.5 * longest),
  };
}

function scores(content: Content): HTMLElement | null {
  const finished = content.trials.filter((trial) => trial.score !== null);
  if (!finished.length) return null;
  const better = content.higher_is_better ? "higher is better" : "lower is better";
  const { y, height, marginLeft } = rows(content);
  return chart({
    id: "study-scores",
    title: `Score by slope, ${better}`,
    words: "Each training as a dot, the mean as a bar.",
    height,
    legend: () => keys([["dot", palette().accent, "a training"], ["band", palette().ink, "mean"]]),
    plot: () => {
      const colours = palette();
      return {
        marginLeft, y,
        x: { label: "score", grid: true, ticks: 5, tickFormat: (value: number) => number(value, 3), labelArrow: "none" },
        marks: [
          Plot.dot(finished, { x: "score", y: "arm", fill: colours.accent, fillOpacity: 0.6, r: 3.5 }),
          Plot.tickX(content.arms, { x: "mean", y: "label", stroke: colours.ink, strokeWidth: 2.5, inset: 5 }),
          Plot.tip(finished, Plot.pointer({ x: "score", y: "arm", ...tipStyle(), title: (trial: Trial) => `α ${trial.arm}, seed ${trial.seed}\nscore ${number(trial.score, 4)}` })),
        ],
      };
    },
  }).element;
}

function differences(content: Content): HTMLElement | null {
  const reference = new Map(content.trials.filter((trial) => trial.arm === content.reference).map((trial) => [trial.seed, trial.score]));
  const pairs = content.trials.flatMap((trial) => {
    const other = reference.get(trial.seed);
    return trial.arm === content.reference || trial.score === null || other === null || other === undefined
      ? [] : [{ arm: trial.arm, seed: trial.seed, gap: trial.score - other }];
  });
  const known = content.arms.filter((arm) => arm.difference !== null);
  if (!pairs.length) return null;
  const { y, height, marginLeft } = rows(content);
  const worth = content.worth;
  const gaps = pairs.map((pair) => pair.gap);
  const [least, most] = [Math.min(...gaps, 0), Math.max(...gaps, 0)];
  const spread = most - least || 1;
  // An interval of few trainings may be a hundred times as wide as what was seen; the axis keeps to the latter.
  const domain: [number, number] = [
    Math.max(least - spread, Math.min(least, ...known.map((arm) => arm.low ?? 0))) - 0.05 * spread,
    Math.min(most + spread, Math.max(most, ...known.map((arm) => arm.high ?? 0))) + 0.05 * spread,
  ];
  return chart({
    id: "study-differences",
    title: `Paired difference to ${content.reference}`,
    words: "A dot each seed; the bar is the interval that holds for all comparisons together (95%). Left of 0 is lower.",
    height,
    legend: () => keys([["dot", palette().accent, "a pair"], ["line", palette().ink, "interval"],
      ...(worth === null ? [] : [["band", palette().others, `within ${number(worth)}: does not matter`] as ["band", string, string]])]),
    plot: () => {
      const colours = palette();
      return {
        marginLeft, y,
        x: { label: "difference", domain, clamp: true, grid: true, ticks: 5, tickFormat: (value: number) => number(value, 2), labelArrow: "none" },
        marks: [
          worth === null ? null : Plot.rectX([0], { x1: Math.max(-worth, domain[0]), x2: Math.min(worth, domain[1]), fill: colours.others, fillOpacity: 0.35 }),
          Plot.ruleX([0], { stroke: colours.muted }),
          Plot.dot(pairs, { x: "gap", y: "arm", fill: colours.accent, fillOpacity: 0.6, r: 3 }),
          Plot.ruleY(known, { y: "label", x1: (arm: Arm) => arm.low ?? domain[0], x2: (arm: Arm) => arm.high ?? domain[1], stroke: colours.ink, strokeWidth: 2 }),
          Plot.dot(known, { x: "difference", y: "label", fill: colours.ink, r: 4 }),
          Plot.tip(known, Plot.pointerY({ x: "difference", y: "label", ...tipStyle(), title: gapWords })),
        ],
      };
    },
  }).element;
}

function gapWords(arm: Arm): string {
  return `α ${arm.label}: ${number(arm.difference, 3)}\nfrom ${number(arm.low, 3)} to ${number(arm.high, 3)}`;
}

function measurements(content: Content): HTMLElement[] {
  const { y, height, marginLeft } = content.arms.length ? rows(content) : { y: {}, height: 0, marginLeft: 0 };
  return Object.entries(content.measurements).map(([name, words]) => {
    const points = content.trials.flatMap((trial) => {
      const value = trial.measurements[name];
      return value === undefined ? [] : [{ arm: trial.arm, seed: trial.seed, value }];
    });
    const isShare = name === "dead_share";
    const shown = (value: number): string => (isShare ? share(value) : number(value, 3));
    return chart({
      id: `study-${name.replaceAll("_", "-")}`,
      title: `${words} by slope`,
      words: isShare ? "Units that are dead after the training, a dot each training." : "After the training, a dot each.",
      height,
      plot: () => {
        const colours = palette();
        return {
          marginLeft, y,
          x: { label: null, grid: true, ticks: 5, tickFormat: shown, labelArrow: "none", ...(isShare && { domain: [0, Math.max(0.01, ...points.map((point) => point.value))] }) },
          marks: [
            Plot.dot(points, { x: "value", y: "arm", fill: isShare ? colours.dead : colours.accent, fillOpacity: 0.6, r: 3.5 }),
            Plot.tickX(points, Plot.groupY({ x: "mean" }, { x: "value", y: "arm", stroke: colours.ink, strokeWidth: 2.5, inset: 5 })),
            Plot.tip(points, Plot.pointer({ x: "value", y: "arm", ...tipStyle(), title: (point: (typeof points)[number]) => `α ${point.arm}, seed ${point.seed}\n${shown(point.value)}` })),
          ],
        };
      },
    }).element;
  });
}

const HUES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];

function curveChart(content: Content, columns: Columns): HTMLElement {
  const points = content.curves.flatMap(({ arm, seed, steps, values }) => {
    const [at, value] = [columns.get(steps), columns.get(values)];
    return Array.from(at, (step, place) => ({ arm, seed, step, value: value[place]! }));
  });
  const hue = (arm: string): string => HUES[labels(content).indexOf(arm) % HUES.length] ?? HUES[0]!;
  return chart({
    id: "study-curves",
    title: "Training by training",
    words: "The score as each training reported it.",
    height: 240,
    legend: () => keys(labels(content).map((label) => ["line", hue(label), label])),
    plot: () => ({
      x: { label: "step", ticks: 6, labelArrow: "none" },
      y: { label: null, grid: true, ticks: 5, tickFormat: (value: number) => number(value, 3) },
      marks: [Plot.line(points, { x: "step", y: "value", z: (point) => `${point.arm} ${point.seed}`, stroke: (point: { arm: string }) => hue(point.arm), strokeOpacity: 0.75, strokeWidth: 1.4 })],
    }),
  }).element;
}

function ranking(content: Content): HTMLElement {
  const figure = (name: string, of: (arm: Arm) => number | null) =>
    ({ name, by: (arm: Arm) => of(arm) ?? -Infinity, cell: (arm: Arm) => number(of(arm), 4) });
  return section("ranking", "Ranking", `Differences are to ${content.reference}, the simplest; ✓ stands where a slope is not detectably worse than any other.`,
    sortable("Ranking", [
      { name: "slope", text: true, cell: (arm) => arm.label, by: (arm) => content.arms.indexOf(arm) },
      { name: "among the best", text: true, cell: (arm) => (arm.in_best_set ? "✓" : ""), by: (arm) => (arm.in_best_set ? 0 : 1) },
      figure("mean score", (arm) => arm.mean), figure("difference", (arm) => arm.difference),
      figure("from", (arm) => arm.low), figure("to", (arm) => arm.high),
      { name: "trainings", by: (arm) => arm.trainings, cell: (arm) => counted(arm.trainings, "training") },
      { name: "failed", by: (arm) => arm.failed, cell: (arm) => String(arm.failed) },
    ], content.arms));
}
