// A figure of every layer before and after, by depth: what a comparison and a repair show.

import * as Plot from "@observablehq/plot";
import { chart, keys, logTicks, tipStyle, wholeTicks } from "./chart";
import { palette } from "./colour";
import { shortened } from "./format";

export type Pair = [number | null, number | null];

export interface Figure<S> {
  id: string;
  title: string;
  words: string;
  of: (site: S) => Pair;
  log: boolean;
  shown: (value: number | null) => string;
  /** What the second of the two is called. */
  second?: string;
}

/** A figure of every layer, twice, by depth; null where no layer has both. */
export function twice<S extends { name: string }>(sites: readonly S[], figure: Figure<S>): HTMLElement | null {
  const second = figure.second ?? "now";
  const points = sites.flatMap((site, place) => {
    const [before, now] = figure.of(site);
    const fits = before !== null && now !== null && (!figure.log || (before > 0 && now > 0));
    return fits ? [{ depth: place + 1, before, now, name: site.name }] : [];
  });
  if (!points.length) return null;
  return chart({
    id: figure.id,
    title: figure.title,
    words: figure.words,
    height: 210,
    legend: () => keys([["ring", palette().muted, "before"], ["dot", palette().accent, second]]),
    plot: (width) => {
      const colours = palette();
      return {
        x: { label: "site, input → output", domain: [0.5, sites.length + 0.5], ticks: wholeTicks(sites.length, width), tickFormat: "d", labelAnchor: "center", labelArrow: "none" },
        y: { type: figure.log ? "log" : "linear", label: null, grid: true, tickSize: 0, tickFormat: (value: number) => figure.shown(value),
          ...(figure.log ? logAxis(points.flatMap((point) => [point.before, point.now])) : { zero: true, nice: true, ticks: 4 }) },
        marks: [
          Plot.link(points, { x1: "depth", x2: "depth", y1: "before", y2: "now", stroke: colours.accent, strokeOpacity: 0.6, strokeWidth: 2 }),
          Plot.dot(points, { x: "depth", y: "before", stroke: colours.muted, fill: "var(--surface)", r: 3.5 }),
          Plot.dot(points, { x: "depth", y: "now", fill: colours.accent, r: 3.5 }),
          Plot.tip(points, Plot.pointerX({ x: "depth", y: "now", ...tipStyle(), title: (point: (typeof points)[number]) => `${point.depth}  ${shortened(point.name, 36)}\n${figure.shown(point.before)}, ${second} ${figure.shown(point.now)}` })),
        ],
      };
    },
  }).element;
}

/** At least a factor of ten, so that noise does not look like a change. */
function logAxis(values: number[]): { domain: [number, number]; ticks: number[] } {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const wider = 1.1 * Math.max(1, Math.sqrt(10 / (high / low)));
  return { domain: [low / wider, high * wider], ticks: logTicks(low / wider, high * wider) };
}
