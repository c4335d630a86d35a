// The page of a checkup, from the verdict down to each unit.

import type { Columns } from "../data";
import { h, section } from "../dom";
import { Findings } from "../findings";
import { number, share, shortened, whole } from "../format";
import { pageFooter, pageHeader } from "../header";
import { sortable } from "../table";
import { depth } from "./depth";
import { Checkup, SHOWN, SHOWN_WORDS, type Content, type Site } from "./model";
import { Network } from "./network";
import { SiteView } from "./site";

export function checkupPage(content: Content, columns: Columns): HTMLElement[] {
  const checkup = new Checkup(content, columns);
  const parts: (HTMLElement | null)[] = [checkup.sites.length ? stateBar(checkup) : null];
  const first = worst(checkup.sites);
  const choosers: ((site: Site) => void)[] = [];
  const choose = (site: Site): void => choosers.forEach((show) => show(site));
  const chooseAndGo = (site: Site): void => {
    choose(site);
    view?.element.scrollIntoView({ block: "start", behavior: "instant" });
  };
  const view = first ? new SiteView(checkup, choose) : null;
  if (first && view) {
    const network = new Network(checkup, choose);
    choosers.push((site) => network.mark(site), (site) => view.show(site));
    parts.push(network.element, findings(checkup, chooseAndGo), view.element, depth(checkup, chooseAndGo), table(checkup));
    choose(first);
  } else {
    parts.push(findings(checkup, chooseAndGo));
  }
  parts.push(notExamined(content.not_examined), pageFooter([...content.notes, content.confidence], content.versions));
  const shown = parts.filter((part) => part !== null);
  const linked = shown.flatMap<[string, string]>((part) => (part.id in PARTS ? [[part.id, PARTS[part.id]!]] : []));
  return [pageHeader("checkup", content.verdict, content.subtitle, content.level, linked), ...shown];
}

const PARTS: Record<string, string> = {
  network: "Network", findings: "Findings", site: "One layer", depth: "By depth", table: "Table", "not-examined": "Not examined",
};

/** Where to begin: the site with most that is wrong. */
function worst(sites: Site[]): Site | undefined {
  const weight = (site: Site): number => site.dead * 1e6 + site.locked * 1e3 + site.unproven + site.dormant / 1e3;
  return sites.reduce<Site | undefined>((best, site) => (!best || weight(site) > weight(best) ? site : best), undefined);
}

function findings(checkup: Checkup, choose: (site: Site) => void): HTMLElement {
  const { findings: found, rules } = checkup.content;
  return new Findings(found, rules, (place) => {
    const site = checkup.sites[place];
    if (site) choose(site);
  }).element;
}

/** All units side by side, by what they are. */
function stateBar(checkup: Checkup): HTMLElement {
  const units = checkup.sites.reduce((sum, site) => sum + site.units, 0);
  const counts = Object.fromEntries(SHOWN.map((state) => [state, 0])) as Record<(typeof SHOWN)[number], number>;
  for (const site of checkup.sites) {
    let others = site.units;
    for (const state of ["dead", "locked", "unproven", "dormant"] as const) {
      counts[state] += site[state];
      others -= site[state];
    }
    counts.others += others;
  }
  const there = SHOWN.filter((state) => counts[state] > 0);
  const bar = h("div", { class: "state-bar", "aria-hidden": "true" }, ...there.map((state) => {
    const part = h("i", { class: `state-${state}` });
    part.style.flexGrow = String(counts[state]);
    return part;
  }));
  return h("div", { class: "states" }, bar, h("ul", { class: "keys" }, ...there.map((state) =>
    h("li", {}, h("i", { class: `key key-box state-${state}`, "aria-hidden": "true" }),
      h("b", {}, whole(counts[state])), ` ${SHOWN_WORDS[state]} `, h("small", {}, share(counts[state] / units))))));
}

function table(checkup: Checkup): HTMLElement {
  const count = (name: string, of: (site: Site) => number) => ({ name, by: of, cell: (site: Site) => whole(of(site)) });
  const figure = (name: string, of: (site: Site) => number | null) =>
    ({ name, by: (site: Site) => of(site) ?? -Infinity, cell: (site: Site) => number(of(site), 3) });
  const gradient = checkup.sites.some((site) => site.gradient !== null);
  return section("table", "All layers as a table", null, h("details", {},
    h("summary", {}, `${whole(checkup.sites.length)} rows`),
    sortable("All layers", [
      { name: "site", text: true, by: (site) => checkup.sites.indexOf(site), cell: (site) => h("bdi", { title: site.name }, shortened(site.name, 48)) },
      { name: "activation", text: true, by: (site) => site.activation, cell: (site) => site.activation },
      count("units", (site) => site.units), count("dead", (site) => site.dead), count("locked", (site) => site.locked),
      count("silent so far", (site) => site.unproven), count("dormant", (site) => site.dormant),
      { name: "silent fire ≤", by: (site) => site.bound ?? -1, cell: (site) => (site.bound === null ? "" : share(site.bound)) },
      { name: "range of z", cell: (site) => site.range },
      figure("E h²", (site) => site.second_moment),
      ...(gradient ? [figure("E‖∂L/∂z‖²", (site) => site.gradient)] : []),
      { name: "mean shift", by: (site) => site.shift ?? -1, cell: (site) => share(site.shift) },
    ], checkup.sites)));
}

function notExamined(items: [string, string][]): HTMLElement | null {
  if (!items.length) return null;
  return section("not-examined", "Not examined", "This ran and could not be looked at, so nothing is said of it.",
    h("dl", { class: "facts" }, ...items.map(([name, reason]) =>
      h("div", {}, h("dt", { title: name.length > 60 ? name : null }, h("bdi", {}, shortened(name, 60))), h("dd", {}, reason)))));
}
