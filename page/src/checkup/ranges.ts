// The pre-activations of a site's units: smallest, mean, largest; wide layers by groups of neighbours.

import * as Plot from "@observablehq/plot";
import { chart, keys, tipStyle } from "../chart";
import { palette } from "../colour";
import { h } from "../dom";
import { number, whole } from "../format";
import type { Checkup, Site } from "./model";

interface Group {
  place: number;
  units: [number, number];
  low: number;
  mean: number;
  high: number;
  count: number;
}

const MOST_GROUPS = 160;

export function unitRanges(checkup: Checkup, site: Site): HTMLElement | null {
  const groups = grouped(checkup, site);
  if (!groups.length) return null;
  const each = groups.some((group) => group.count > 1) ? "groups of units" : "units";
  return chart<Group>({
    id: "unit-ranges",
    title: "Pre-activations z",
    words: `From the smallest to the largest seen, the mean as a dot; ${each} by their mean. What is below the line is multiplied by the slope.`,
    height: 250,
    legend: () => keys([["band", palette().others, "smallest … largest"], ["dot", palette().accent, "mean"]]),
    plot: () => {
      const colours = palette();
      return {
        x: { axis: null, label: null, inset: 4 },
        y: { label: null, grid: true, ticks: 6, tickFormat: (value: number) => number(value) },
        marks: [
          Plot.ruleX(groups, { x: "place", y1: "low", y2: "high", stroke: colours.others, strokeWidth: 2.5 }),
          Plot.ruleY([site.threshold], { stroke: colours.ink, strokeWidth: 1 }),
          Plot.dot(groups, { x: "place", y: "mean", fill: colours.accent, r: groups.length > 80 ? 1.5 : 2.5 }),
          Plot.tip(groups, Plot.pointerX({ x: "place", y: "mean", ...tipStyle(), title: words })),
        ],
      };
    },
  }).element;
}

function words(group: Group): string {
  const [first, last] = group.units;
  const who = group.count === 1 ? `unit ${first}` : `${whole(group.count)} units, unit ${first} to unit ${last} by mean`;
  return `${who}\n${number(group.low)} … ${number(group.high)}, mean ${number(group.mean)}`;
}

function grouped(checkup: Checkup, site: Site): Group[] {
  const [low, high, means] = [checkup.array(site, "minimum"), checkup.array(site, "maximum"), checkup.means(site)];
  if (!low || !high || !means) return [];
  const seen = Array.from({ length: site.units }, (_, unit) => unit).filter((u) => Number.isFinite(low[u]) && Number.isFinite(means[u]));
  seen.sort((a, b) => means[a]! - means[b]!);
  const count = Math.min(MOST_GROUPS, seen.length);
  return Array.from({ length: count }, (_, place) => {
    const part = seen.slice(Math.floor((place * seen.length) / count), Math.floor(((place + 1) * seen.length) / count));
    return {
      place,
      units: [part[0]!, part.at(-1)!],
      count: part.length,
      low: Math.min(...part.map((unit) => low[unit]!)),
      high: Math.max(...part.map((unit) => high[unit]!)),
      mean: part.reduce((sum, unit) => sum + means[unit]!, 0) / part.length,
    };
  });
}

/** Said where the page left the figures of single units out. */
export function leftOut(): HTMLElement {
  return h("p", { class: "empty" }, "This network is so large that the page holds no figures of single units here.");
}
