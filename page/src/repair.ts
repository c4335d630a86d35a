// What a repair did: kept or not and why, before and after side by side, each treatment, each action.

import * as Plot from "@observablehq/plot";
import { chart, keys, tipStyle } from "./chart";
import { palette } from "./colour";
import { twice, type Pair } from "./depths";
import { h, section } from "./dom";
import { number, ranges, share, shortened } from "./format";
import { pageFooter, pageHeader, type Tone } from "./header";
import { sortable } from "./table";

interface Result {
  name: string;
  before: number | null;
  after: number | null;
  trainings: number;
}

interface Action {
  kind: string;
  site: string | null;
  units: number[];
  reason: string;
  negative_slope: number | null;
  changes: string[];
}

/** What became of a layer on the same data; `change` of its output, relative to its size. */
interface Drift {
  name: string;
  mean: Pair;
  second_moment: Pair;
  change: number | null;
}

export interface Content {
  kind: "repair";
  verdict: string;
  level: Tone;
  subtitle: string;
  before_after: [string, number | null, number | null, "share" | "number"][];
  output_change: number | null;
  results: Result[];
  drift: Drift[];
  actions: Action[];
  left: [string, number[], string][];
  notes: string[];
}

export function repairPage(content: Content): HTMLElement[] {
  return [
    pageHeader("repair", content.verdict, content.subtitle, content.level, [["before-after", "Before and after"], ...(content.drift.length ? [["drift", "Layer by layer"] as [string, string]] : []), ["actions", "What was done"]], content.verdict),
    beforeAfter(content),
    content.results.length ? section("results", "What was tried", "The metric right after each treatment, and after the training that followed.", h("div", { class: "charts" }, results(content))) : null,
    drift(content),
    actions(content),
    left(content),
    pageFooter(content.notes, {}),
  ].filter((each) => each !== null);
}

function beforeAfter(content: Content): HTMLElement {
  const shown = (value: number | null, how: "share" | "number"): string => (how === "share" ? share(value) : number(value, 4));
  return section("before-after", "Before and after", null, h("div", { class: "cards" },
    ...content.before_after.map(([name, before, after, how]) =>
      h("div", { class: "card" }, h("h3", {}, name),
        h("p", { class: "pair" }, h("span", {}, h("small", {}, "before"), shown(before, how)), h("i", { "aria-hidden": "true" }, "→"),
          h("span", {}, h("small", {}, "after"), h("b", {}, shown(after, how)))))),
    h("div", { class: "card" }, h("h3", {}, "Outputs changed by"), h("p", { class: "pair" }, h("span", {}, h("small", {}, "of their size"), h("b", {}, share(content.output_change)))))));
}

function results(content: Content): HTMLElement {
  const known = content.results.filter((result) => result.before !== null && result.after !== null);
  const longest = Math.max(...known.map((result) => result.name.length), 1);
  return chart({
    id: "repair-results",
    title: "Metric by treatment",
    words: "From right after the change to after the training.",
    height: 50 + 34 * known.length,
    legend: () => keys([["ring", palette().muted, "right after it"], ["dot", palette().accent, "after the training"]]),
    plot: () => {
      const colours = palette();
      return {
        marginLeft: Math.min(150, 24 + 6.5 * longest),
        y: { type: "band", domain: known.map((result) => result.name), label: null, tickSize: 0, tickFormat: (name: string) => shortened(name, 22) },
        x: { label: "metric", grid: true, ticks: 5, tickFormat: (value: number) => number(value, 3), labelArrow: "none" },
        marks: [
          Plot.link(known, { x1: "before", x2: "after", y1: "name", y2: "name", stroke: colours.accent, strokeOpacity: 0.6, strokeWidth: 2 }),
          Plot.dot(known, { x: "before", y: "name", stroke: colours.muted, fill: "var(--surface)", r: 4 }),
          Plot.dot(known, { x: "after", y: "name", fill: colours.accent, r: 4 }),
          Plot.tip(known, Plot.pointerY({ x: "after", y: "name", ...tipStyle(), title: (result: Result) => `${result.name}\n${number(result.before, 4)}, then ${number(result.after, 4)}` })),
        ],
      };
    },
  }).element;
}

function drift(content: Content): HTMLElement | null {
  const sites = content.drift;
  if (!sites.length) return null;
  const charts = [
    twice(sites, { id: "drift-second-moment", title: "Range: E z²", words: "Of the pre-activations, a mean over the units.", of: (site) => site.second_moment, log: true, shown: (value) => number(value, 3), second: "after" }),
    twice(sites, { id: "drift-mean", title: "Mean: E z", words: "Of the pre-activations, over the units.", of: (site) => site.mean, log: false, shown: (value) => number(value, 3), second: "after" }),
  ].filter((each) => each !== null);
  return section("drift", "Layer by layer", "The same data, before and after: how far each layer drifted from what it was.", h("div", { class: "charts" }, ...charts),
    sortable("Drift of each layer", [
      { name: "site", text: true, by: (row) => row.place, cell: (row) => h("bdi", { title: row.name }, shortened(row.name, 48)) },
      { name: "output changed by", by: (row) => row.change ?? Infinity, cell: (row) => (row.change === null ? "not finite" : share(row.change)) },
      { name: "E z² before", by: (row) => row.second_moment[0] ?? -1, cell: (row) => number(row.second_moment[0], 3) },
      { name: "after", by: (row) => row.second_moment[1] ?? -1, cell: (row) => number(row.second_moment[1], 3) },
      { name: "E z before", by: (row) => row.mean[0] ?? 0, cell: (row) => number(row.mean[0], 3) },
      { name: "after", by: (row) => row.mean[1] ?? 0, cell: (row) => number(row.mean[1], 3) },
    ], sites.map((site, place) => ({ ...site, place }))));
}

function actions(content: Content): HTMLElement {
  const rows = content.actions;
  return section("actions", "What was done", rows.length ? null : "Nothing.", rows.length ? sortable("What was done", [
    { name: "where", text: true, by: (row) => row.site ?? "", cell: (row) => h("bdi", {}, shortened(row.site ?? "the whole network", 48)) },
    { name: "what", text: true, by: (row) => row.kind, cell: (row) => row.kind + (row.negative_slope === null ? "" : `, α ${number(row.negative_slope)}`) },
    { name: "units", text: true, cell: (row) => ranges(row.units, 8) },
    { name: "why", text: true, cell: (row) => row.reason },
    { name: "what it changes", text: true, cell: (row) => row.changes.join("; ") },
  ], rows) : null);
}

function left(content: Content): HTMLElement | null {
  if (!content.left.length) return null;
  return section("left", "What was left", null, sortable("What was left", [
    { name: "where", text: true, by: ([site]) => site, cell: ([site]) => h("bdi", {}, shortened(site, 48)) },
    { name: "units", text: true, cell: ([, units]) => ranges(units, 8) },
    { name: "why", text: true, cell: ([, , reason]) => reason },
  ], content.left));
}
