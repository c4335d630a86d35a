// A comparison: whether it got worse and why, then what appeared, went and grew, layer by layer.

import { twice, type Pair } from "./depths";
import { h, section } from "./dom";
import { number, ranges, share, shortened, whole } from "./format";
import { pageFooter, pageHeader, type Tone } from "./header";
import { sortable } from "./table";

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
    twice(content.sites, { id: "change-dead", title: "Dead share", words: "Of each layer's units.", of: (site) => site.dead_share, log: false, shown: share }),
    twice(content.sites, { id: "change-second-moment", title: "Range: E h²", words: "Of each layer's output, a mean over its units.", of: (site) => site.second_moment, log: true, shown: (value) => number(value, 3) }),
    twice(content.sites, { id: "change-firing", title: "Firing rate", words: "Share of the samples, a mean over the units.", of: (site) => site.firing_rate, log: false, shown: share }),
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
