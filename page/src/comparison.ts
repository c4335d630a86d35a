// A comparison: whether it got worse and why, then what appeared, went and grew, layer by layer.

import * as Plot from "@observablehq/plot";
import { chart, keys, logTicks, wholeTicks, tipStyle } from "./chart";
import { palette } from "./colour";
import { h, section } from "./dom";
import { number, ranges, share, shortened, whole } from "./format";
import { pageFooter, pageHeader, type Tone } from "./header";
import { sortable } from "./table";

type Pair = [number | null, number | null];

interface Site {
  name: string;
  firing_rate: Pair;
  second_moment: Pair;
  dead_share: Pair;
}

export interface Content {
  kind: "comparison";
  verdict: string;
  level: Tone;
  subtitle: string;
  reasons: string[];
  totals: [string, number, number][];
  sites: Site[];
  units: { site: string; verdict: string; appeared: number[]; gone: number[]; confirmed: number[]; undecided: number[] }[];
  findings: { site: string | null; rule: string; before: string | null; after: string | null; worse: boolean; message: string }[];
  notes: string[];
}

export function comparisonPage(content: Content): HTMLElement[] {
  const charts = [
    change(content, { id: "change-dead", title: "Dead share", words: "Of each layer's units.", of: (site) => site.dead_share, log: false, shown: share }),
    change(content, { id: "change-second-moment", title: "Range: E h²", words: "Of each layer's output, a mean over its units.", of: (site) => site.second_moment, log: true, shown: (value) => number(value, 3) }),
    change(content, { id: "change-firing", title: "Firing rate", words: "Share of the samples, a mean over the units.", of: (site) => site.firing_rate, log: false, shown: share }),
  ].filter((each) => each !== null);
  return [
    pageHeader("comparison", content.verdict, content.subtitle, content.level, [["changes", "What changed"], ["layers", "Layer by layer"], ["totals", "Totals"]],
      content.level === "error" ? "It got worse" : "It did not get worse"),
    content.reasons.length ? section("reasons", "Why it got worse", null, h("ul", { class: "bullets" }, ...content.reasons.map((reason) => h("li", {}, reason)))) : null,
    charts.length ? section("layers", "Layer by layer", "Site 1 is nearest to the input. An arrow goes from before to now.", h("div", { class: "charts thirds" }, ...charts)) : null,
    changes(content),
    totals(content),
    pageFooter(content.notes, {}),
  ].filter((each) => each !== null);
}

interface Figure {
  id: string;
  title: string;
  words: string;
  of: (site: Site) => Pair;
  log: boolean;
  shown: (value: number | null) => string;
}

function change(content: Content, figure: Figure): HTMLElement | null {
  const points = content.sites.flatMap((site, place) => {
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
    legend: () => keys([["ring", palette().muted, "before"], ["dot", palette().accent, "now"]]),
    plot: (width) => {
      const colours = palette();
      return {
        x: { label: "site, input → output", domain: [0.5, content.sites.length + 0.5], ticks: wholeTicks(content.sites.length, width), tickFormat: "d", labelAnchor: "center", labelArrow: "none" },
        y: { type: figure.log ? "log" : "linear", label: null, grid: true, tickSize: 0, tickFormat: (value: number) => figure.shown(value),
          ...(figure.log ? logAxis(points.flatMap((point) => [point.before, point.now])) : { zero: true, nice: true, ticks: 4 }) },
        marks: [
          Plot.link(points, { x1: "depth", x2: "depth", y1: "before", y2: "now", stroke: colours.accent, strokeOpacity: 0.6, strokeWidth: 2 }),
          Plot.dot(points, { x: "depth", y: "before", stroke: colours.muted, fill: "var(--surface)", r: 3.5 }),
          Plot.dot(points, { x: "depth", y: "now", fill: colours.accent, r: 3.5 }),
          Plot.tip(points, Plot.pointerX({ x: "depth", y: "now", ...tipStyle(), title: (point: (typeof points)[number]) => `${point.depth}  ${shortened(point.name, 36)}\n${figure.shown(point.before)}, now ${figure.shown(point.now)}` })),
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

function changes(content: Content): HTMLElement {
  const cell = (units: number[]): string => (units.length ? `${whole(units.length)}: ${ranges(units, 8)}` : "");
  const units = content.units.length
    ? [h("h3", {}, "Units"), sortable("Changes of units", [
      { name: "site", text: true, by: (row) => row.site, cell: (row) => h("bdi", { title: row.site }, shortened(row.site, 48)) },
      { name: "verdict", text: true, by: (row) => row.verdict, cell: (row) => row.verdict },
      { name: "appeared", text: true, by: (row) => String(row.appeared.length), cell: (row) => cell(row.appeared) },
      { name: "gone", text: true, by: (row) => String(row.gone.length), cell: (row) => cell(row.gone) },
      { name: "too little was seen before", text: true, cell: (row) => cell(row.confirmed) },
      { name: "too little is seen now", text: true, cell: (row) => cell(row.undecided) },
    ], content.units)] : [];
  const findings = content.findings.length
    ? [h("h3", {}, "Findings"), sortable("Changes of findings", [
      { name: "where", text: true, by: (row) => row.site ?? "", cell: (row) => h("bdi", {}, shortened(row.site ?? "the network", 48)) },
      { name: "rule", text: true, by: (row) => row.rule, cell: (row) => row.rule },
      { name: "before", text: true, by: (row) => row.before ?? "", cell: (row) => row.before ?? "–" },
      { name: "now", text: true, by: (row) => row.after ?? "", cell: (row) => row.after ?? "–" },
      { name: "", text: true, cell: (row) => (row.worse ? "worse" : row.after === null ? "went" : row.before === null ? "new" : "changed") },
      { name: "what", text: true, cell: (row) => row.message },
    ], content.findings)] : [];
  const nothing = !units.length && !findings.length;
  return section("changes", "What changed", nothing ? "No verdict and no finding did." : null, ...units, ...findings);
}

function totals(content: Content): HTMLElement {
  return section("totals", "Totals", null, sortable("Totals", [
    { name: "", text: true, cell: ([name]) => name },
    { name: "before", cell: ([, before]) => whole(before), by: ([, before]) => before },
    { name: "now", cell: ([, , now]) => whole(now), by: ([, , now]) => now },
    { name: "change", cell: ([, before, now]) => signed(now - before), by: ([, before, now]) => now - before },
  ], content.totals));
}

function signed(change: number): string {
  return change === 0 ? "" : `${change > 0 ? "+" : "−"}${whole(Math.abs(change))}`;
}
