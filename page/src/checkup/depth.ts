// How range, gradient and mean shift fare with depth, beside what theory expects.

import * as Plot from "@observablehq/plot";
import { chart, keys, logTicks, wholeTicks, tipStyle, type Chart } from "../chart";
import { palette } from "../colour";
import { h, section } from "../dom";
import { number, share, shortened } from "../format";
import type { Checkup, Site } from "./model";

interface Point {
  depth: number;
  site: Site;
  value: number;
}

interface Figure {
  id: string;
  title: string;
  words: string;
  of: (site: Site) => number | null;
  expected?: (site: Site) => number | null;
  expectedIs?: string;
  log: boolean;
  shown: (value: number) => string;
}

const FIGURES: Figure[] = [
  {
    id: "depth-second-moment",
    title: "Range: E h² of each layer's output",
    words: "Level is healthy. The closed form is what the weights' scale alone makes of the layer before.",
    of: (site) => site.second_moment,
    expected: (site) => site.second_moment_closed_form,
    expectedIs: "closed form",
    log: true,
    shown: (value) => number(value, 3),
  },
  {
    id: "depth-gradient",
    title: "Gradient that arrives: E‖∂L/∂z‖²",
    words: "Read from right to left, as the gradient flows. Level is healthy.",
    of: (site) => site.gradient,
    log: true,
    shown: (value) => number(value, 3),
  },
  {
    id: "depth-shift",
    title: "Mean shift: how alike two samples look",
    words: "Share of E h² that is each unit's constant mean, equal to the mean correlation of two samples' outputs.",
    of: (site) => site.shift,
    expected: (site) => site.shift_closed_form,
    expectedIs: "correlation map, from what comes in",
    log: false,
    shown: share,
  },
];

export function depth(checkup: Checkup, choose: (site: Site) => void): HTMLElement | null {
  const charts: HTMLElement[] = [];
  for (const figure of FIGURES) {
    const points = pointsOf(checkup, figure.of, figure.log);
    if (points.length < 2) continue;
    charts.push(depthChart(checkup, figure, points, choose).element);
  }
  const gradient = checkup.sites.some((site) => site.gradient !== null);
  if (!charts.length) return null;
  return section(
    "depth",
    "By depth",
    `Site 1 is nearest to the input.${gradient ? "" : " The gradient is known when the checkup is given a loss."}`,
    h("div", { class: "charts thirds" }, ...charts),
  );
}

function pointsOf(checkup: Checkup, of: (site: Site) => number | null, log: boolean): Point[] {
  return checkup.sites.flatMap((site, place) => {
    const value = of(site);
    return value === null || (log && value <= 0) ? [] : [{ depth: place + 1, site, value }];
  });
}

function depthChart(checkup: Checkup, figure: Figure, points: Point[], choose: (site: Site) => void): Chart {
  const expected = figure.expected ? pointsOf(checkup, figure.expected, figure.log) : [];
  return chart<Point>({
    id: figure.id,
    title: figure.title,
    words: figure.words,
    height: 210,
    choose: (point) => choose(point.site),
    ...(expected.length && {
      legend: () => keys([["dot", palette().accent, "observed"], ["dash", palette().closed, figure.expectedIs ?? ""]]),
    }),
    plot: (width) => {
      const colours = palette();
      const many = points.length > 60;
      return {
        x: { label: "site, input → output", ticks: wholeTicks(checkup.sites.length, width), tickFormat: "d", labelAnchor: "center", labelArrow: "none" },
        y: {
          type: figure.log ? "log" : "linear",
          ...domainOf(figure, [...points, ...expected]),
          label: null,
          grid: true,
          tickSize: 0,
          tickFormat: (value: number) => (figure.log ? number(value, 1) : share(value)),
        },
        marks: [
          Plot.line(expected, { x: "depth", y: "value", stroke: colours.closed, strokeWidth: 1.6, strokeDasharray: "4 3" }),
          Plot.dot(expected, { x: "depth", y: "value", fill: colours.closed, r: many ? 1 : 2 }),
          Plot.line(points, { x: "depth", y: "value", stroke: colours.accent, strokeWidth: 1.8 }),
          Plot.dot(points, { x: "depth", y: "value", fill: colours.accent, r: many ? 1.6 : 3 }),
          Plot.crosshairX(points, { x: "depth", y: "value", color: colours.muted, opacity: 0.4, textFill: "none", textStroke: "none" }),
          Plot.tip(points, Plot.pointerX({ x: "depth", y: "value", ...tipStyle(), title: (point: Point) => tipWords(figure, point) })),
        ],
      };
    },
  });
}

/** The axis spans a factor of ten at least, so that noise does not look like a trend; few ticks, at round numbers. */
function domainOf(figure: Figure, points: Point[]): { domain: [number, number]; ticks: number | number[] } {
  if (!figure.log) return { domain: [0, 1], ticks: 5 };
  const values = points.map((point) => point.value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const wider = Math.max(1, Math.sqrt(10 / (high / low)));
  const domain: [number, number] = [low / wider / 1.1, high * wider * 1.1];
  return { domain, ticks: logTicks(...domain) };
}

function tipWords(figure: Figure, { site, value, depth: at }: Point): string {
  const expected = figure.expected?.(site) ?? null;
  return `${at}  ${shortened(site.name, 36)}\n${figure.shown(value)}${expected === null ? "" : `, ${figure.expectedIs} ${figure.shown(expected)}`}`;
}
