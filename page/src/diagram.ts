// The function itself and its derivative, with a slider for the slope.

import * as Plot from "@observablehq/plot";
import { chart, keys, type Chart } from "./chart";
import { palette } from "./colour";
import { fill, h, section, uniqueId } from "./dom";
import { number } from "./format";
import { pageHeader, type Tone } from "./header";

export interface Content {
  kind: "diagram";
  verdict: string;
  level: Tone;
  subtitle: string;
  slopes: number[];
  gain: number;
  clamp: number | null;
}

type Point = [x: number, y: number];

export function diagramPage(content: Content): HTMLElement[] {
  let alpha = content.slopes.find((slope) => slope !== 0) ?? content.slopes[0] ?? 0.1;
  const value = (x: number, slope: number): number => held(content.gain * (x > 0 ? x : slope * x), content.clamp);
  const derivative = (x: number, slope: number): number =>
    content.clamp !== null && Math.abs(content.gain * (x > 0 ? x : slope * x)) >= content.clamp ? 0 : content.gain * (x > 0 ? 1 : slope);
  const charts = [
    curve("diagram-value", "The function", "y for x from −4 to 4; thin lines are the other slopes.", content, () => alpha, value),
    curve("diagram-derivative", "Its derivative", "dy/dx; at 0 itself it is that of the lower side.", content, () => alpha, derivative),
  ];
  const figures = h("dl", { class: "figures" });
  const show = (): void => {
    const row = (id: string, name: string, figure: number): HTMLElement =>
      h("div", { "data-figure": id, "data-value": figure }, h("dt", {}, name), h("dd", {}, h("b", {}, number(figure, 5))));
    fill(figures,
      row("gain", "Initialisation's gain √(2/(1+α²))", Math.sqrt(2 / (1 + alpha ** 2))),
      row("mean", "E f for x of N(0, 1)", (1 - alpha) / Math.sqrt(2 * Math.PI)),
      row("second_moment", "E f² for x of N(0, 1)", (1 + alpha ** 2) / 2));
  };
  const id = uniqueId("slope");
  const set = (slope: number, from: HTMLInputElement): void => {
    if (!Number.isFinite(slope)) return;
    alpha = slope;
    for (const each of [range, entry]) if (each !== from) each.value = String(slope);
    show();
    charts.forEach((each) => each.draw());
  };
  const range = h("input", { type: "range", id, min: -0.5, max: 1, step: 0.005, value: alpha, "data-slope": "range", oninput: () => set(Number(range.value), range) });
  const entry = h("input", { type: "number", step: "any", value: alpha, "aria-label": "Negative slope α as a number",
    oninput: () => entry.value.trim() !== "" && set(Number(entry.value), entry) });
  show();
  return [
    pageHeader("function", content.verdict, content.subtitle, content.level, [], "A diagram"),
    section("diagram", "Leaky ReLU", null,
      h("div", { class: "slope" }, h("label", { for: id }, "Negative slope α"), range, entry),
      h("div", { class: "charts" }, ...charts.map((each) => each.element)),
      h("h3", {}, "In closed form, without gain and bound"), figures),
  ];
}

function held(y: number, clamp: number | null): number {
  return clamp === null ? y : Math.min(Math.max(y, -clamp), clamp);
}

/** A gap where it jumps, so that no upright line is drawn that is no value. */
function withGaps(points: Point[], jump: number): Point[] {
  return points.flatMap(([x, y], at): Point[] => {
    const before = points[at - 1];
    return before && Math.abs(y - before[1]) > jump ? [[x, NaN], [x, y]] : [[x, y]];
  });
}

function curve(
  id: string, title: string, words: string, content: Content, alpha: () => number, of: (x: number, slope: number) => number,
): Chart {
  const points = (slope: number): Point[] => withGaps(
    Array.from({ length: 801 }, (_, at) => [(at - 400) / 100, of((at - 400) / 100, slope)]), 0.05 * content.gain);
  return chart({
    id, title, words, height: 280,
    legend: () => keys([["line", palette().accent, `α = ${number(alpha(), 3)}`], ["line", palette().others, content.slopes.map((slope) => number(slope, 3)).join(", ")]]),
    plot: () => {
      const colours = palette();
      return {
        x: { label: "x", ticks: 8, labelArrow: "none" },
        y: { label: null, grid: true, ticks: 6 },
        marks: [
          Plot.ruleX([0], { stroke: colours.line }),
          Plot.ruleY([0], { stroke: colours.line }),
          ...content.slopes.map((slope) => Plot.line(points(slope), { stroke: colours.others, strokeWidth: 1.5 })),
          Plot.line(points(alpha()), { stroke: colours.accent, strokeWidth: 2.5 }),
        ],
      };
    },
  });
}
