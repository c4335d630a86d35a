// A watched training: layers by time as a heat map, the network over time, alarms and controls as marks, one moment on a slider.

import * as Plot from "@observablehq/plot";
import { chart, keys } from "./chart";
import { packed, palette, rampColours } from "./colour";
import type { Columns, Numbers, Stored } from "./data";
import { choice, fill, h, section, uniqueId } from "./dom";
import { bounded, counted, number, share, shortened, whole } from "./format";
import { pageFooter, pageHeader, type Tone } from "./header";
import { rampKey } from "./legend";
import { sortable } from "./table";
import { drawn } from "./theme";
import { hideTip, showTip } from "./tip";
import { UnitsOverTime, type UnitRates } from "./units";

interface Site {
  name: string;
  units: number;
  activation: string;
}

interface Alarm {
  step: number;
  rule: string;
  level: "error" | "warning" | "info";
  site: string | null;
  place: number | null;
  message: string;
  advice: string;
}

interface Control {
  step: number;
  /** The step at which it was undone; null while it holds. */
  until: number | null;
  kind: string;
  refused: boolean;
  site: string | null;
  place: number | null;
  message: string;
  alarm: string;
  evidence: string;
}

export interface Content {
  kind: "run";
  verdict: string;
  level: Tone;
  subtitle: string;
  steps: Stored;
  reports: number;
  sites: Site[];
  figures: Record<string, Stored>;
  shares: string[];
  network: Record<string, Stored>;
  /** Above info: those of one rule at one step together, the worst first. */
  alarms: Alarm[][];
  remarks: Alarm[][];
  controls: Control[];
  unit_rates: UnitRates | null;
  notes: string[];
}

const NAMES: Record<string, string> = {
  dead: "Dead", silent: "Silent", rate: "Firing rate", locked: "Locked", dormant: "Dormant", nearly_dead: "Nearly dead",
  second_moment: "E z²", output_moment: "E h²", gradient: "Gradient", update: "Update",
};
const ROW_HEIGHT = 18;
/** The least that the axis of shares reaches to, where all are 0. */
const LEAST_SHARE = 0.1;

export function runPage(content: Content, columns: Columns): HTMLElement[] {
  const steps = columns.get(content.steps);
  const parts: HTMLElement[] = [];
  if (steps.length && content.sites.length) {
    const units = content.unit_rates && new UnitsOverTime(content.unit_rates, columns, content.sites);
    const moment = new Moment(content, columns, steps, (place) => units?.choose(place));
    parts.push(overTime(content, columns, steps), moment.element, ...(units ? [units.element] : []));
  }
  parts.push(alarms(content));
  const controlled: [string, string][] = content.controls.length ? [["controls", "Controls"]] : [];
  if (controlled.length) parts.push(controls(content.controls));
  const units: [string, string][] = content.unit_rates && steps.length && content.sites.length ? [["units", "Unit by unit"]] : [];
  const thinned = content.reports > steps.length ? [`${counted(content.reports, "report")} were made; ${whole(steps.length)} of them are shown.`] : [];
  return [
    pageHeader("run", content.verdict, content.subtitle, content.level, [["network", "Over time"], ["layers", "Layer by layer"], ...units, ["alarms", "Alarms"], ...controlled]),
    ...parts, pageFooter([...content.notes, ...thinned], {}),
  ];
}

function overTime(content: Content, columns: Columns, steps: Numbers): HTMLElement {
  const lines = Object.entries(content.network).map(([name, stored]) => ({ name, values: columns.get(stored) }));
  const points = lines.flatMap(({ name, values }) =>
    Array.from(steps, (step, at) => ({ name, step, value: values[at]! })).filter((point) => Number.isFinite(point.value)));
  const told = content.alarms.map((alike) => alike[0]!);
  const made = content.controls.filter((control) => !control.refused).map((control) => ({ ...control, end: control.until ?? steps[steps.length - 1]! }));
  const hue = (name: string): string => ({ dead: palette().dead, locked: palette().locked, dormant: palette().dormant }[name] ?? palette().accent);
  return section("network", "The network over time", `Shares of all units; a mark stands where an alarm was raised${made.length ? ", a diamond where a control was made, with a bar as long as it held" : ""}.`, chart({
    id: "run-network",
    title: "What the units became",
    words: "Dead and locked are told when enough samples were seen; silent is what did not fire for as many.",
    height: 240,
    legend: () => keys([...lines.map(({ name }) => ["line", hue(name), NAMES[name] ?? name] as ["line", string, string]),
      ...(told.length ? [["dash", palette().ink, "alarm"] as ["dash", string, string]] : []),
      ...(made.length ? [["ring", palette().ink, "control"] as ["ring", string, string]] : [])]),
    plot: () => {
      const colours = palette();
      const top = Math.max(LEAST_SHARE, ...points.map(({ value }) => value));
      return {
        x: { label: "step", ticks: 6, labelArrow: "none", tickFormat: (value: number) => whole(value) },
        y: { label: null, grid: true, ticks: 5, domain: [0, top], nice: true, tickFormat: (value: number) => share(value) },
        marks: [
          Plot.ruleX(told, { x: "step", stroke: colours.ink, strokeDasharray: "2 3", strokeOpacity: 0.7 }),
          Plot.line(points, { x: "step", y: "value", z: "name", stroke: (point: { name: string }) => hue(point.name), strokeWidth: 2 }),
          ...(made.length ? [
            Plot.ruleY(made, { x1: "step", x2: "end", y: 0, stroke: colours.ink, strokeWidth: 4, strokeOpacity: 0.35 }),
            Plot.dot(made, { x: "step", y: 0, symbol: "diamond2", stroke: colours.ink, r: 8 }),
          ] : []),
          Plot.dot(told, { x: "step", y: 0, symbol: "triangle", fill: colours.ink, r: 4 }),
        ],
      };
    },
  }).element);
}

/** The heat map with its slider: one figure of every layer over time, and what it was at the moment chosen. */
class Moment {
  readonly element: HTMLElement;
  private figure: string;
  private at: number;
  private readonly canvas = h("canvas", { class: "heat", "data-chart": "heat" });
  private readonly cursor = h("i", { class: "cursor", "aria-hidden": "true" });
  private readonly slider: HTMLInputElement;
  private readonly now = h("output", { class: "moment", "data-figure": "moment" });
  private readonly table = h("div");
  private readonly scale = h("div", { class: "strip-legend" });

  constructor(private readonly content: Content, private readonly columns: Columns, private readonly steps: Numbers, choose: (place: number) => void) {
    const names = Object.keys(content.figures);
    this.figure = names.includes("silent") ? "silent" : names[0] ?? "";
    this.at = steps.length - 1;
    const id = uniqueId("step");
    this.slider = h("input", { type: "range", id, min: 0, max: this.at, value: this.at, step: 1, "data-step": "range",
      oninput: () => { this.at = Number(this.slider.value); this.show(); } });
    const rows = h("div", { class: "heat-names", "aria-hidden": "true" }, ...content.sites.map((site) => h("bdi", { title: site.name }, shortened(site.name, 24))));
    const frame = h("div", { class: "strip-frame" }, this.canvas, ...this.marks(), this.cursor);
    this.canvas.addEventListener("pointermove", (event) => this.hover(event));
    this.canvas.addEventListener("pointerleave", hideTip);
    this.canvas.addEventListener("click", (event) => choose(this.under(event).place));
    this.element = section("layers", "Layer by layer", "A row each layer, from input to output; time runs to the right. The slider chooses a moment.",
      h("div", { class: "tools" }, choice("Figure", names.map((name) => [name, NAMES[name] ?? name] as const), this.figure, (name) => {
        this.figure = name;
        this.draw();
      })),
      this.scale,
      h("div", { class: "heat-map" }, rows, frame, h("label", { for: id }, "Moment"), this.slider),
      this.now, this.table);
    drawn(() => this.draw());
  }

  private marks(): HTMLElement[] {
    const raised = this.content.alarms.flat();
    const made = this.content.controls.filter((control) => !control.refused);
    return [
      ...raised.map((alarm) => this.mark("alarm-mark", alarm, alarm.rule)),
      ...made.map((control) => this.mark("control-mark", control, `${control.kind}: ${shortened(control.message, 200)}`)),
    ].filter((mark) => mark !== null);
  }

  private mark(kind: string, at: { step: number; place: number | null }, words: string): HTMLElement | null {
    if (at.place === null) return null;
    const mark = h("i", { class: kind, "aria-hidden": "true", title: `step ${at.step}: ${words}` });
    mark.style.left = `${(100 * (this.nearest(at.step) + 0.5)) / this.steps.length}%`;
    mark.style.top = `${(100 * (at.place + 0.5)) / this.content.sites.length}%`;
    return mark;
  }

  private nearest(step: number): number {
    const found = this.steps.findIndex((each) => each >= step);
    return found < 0 ? this.steps.length - 1 : found;
  }

  private value(site: number, at: number): number {
    return this.columns.get(this.content.figures[this.figure]!)[site * this.steps.length + at]!;
  }

  private shown(value: number): string {
    return this.content.shares.includes(this.figure) ? share(value) : number(value, 3);
  }

  /** Where a value stands between the least and the most: by its logarithm where it is no share. */
  private scaled(): { of: (value: number) => number; low: number; high: number } {
    if (this.content.shares.includes(this.figure)) return { of: (value) => value, low: 0, high: 1 };
    const values = Array.from(this.columns.get(this.content.figures[this.figure]!)).filter((value) => value > 0 && Number.isFinite(value));
    const low = values.reduce((least, value) => Math.min(least, value), Infinity);
    const high = values.reduce((most, value) => Math.max(most, value), 0);
    const span = Math.log(high / low) || 1;
    return { of: (value) => (value > 0 ? Math.log(value / low) / span : 0), low, high };
  }

  private draw(): void {
    if (!this.figure) return;
    const [sites, times] = [this.content.sites.length, this.steps.length];
    this.canvas.width = times;
    this.canvas.height = sites;
    this.canvas.style.height = `${sites * ROW_HEIGHT}px`;
    const context = this.canvas.getContext("2d");
    if (!context) return;
    const image = context.createImageData(times, sites);
    const pixels = new Uint32Array(image.data.buffer);
    const [colourOf, scaled] = [rampColours(), this.scaled()];
    for (let site = 0; site < sites; site++) {
      for (let at = 0; at < times; at++) {
        const value = this.value(site, at);
        pixels[site * times + at] = packed(colourOf(Number.isFinite(value) ? Math.min(Math.max(scaled.of(value), 0), 1) : NaN));
      }
    }
    context.putImageData(image, 0, 0);
    fill(this.scale, h("ul", { class: "keys" }, rampKey(this.shown(scaled.low), this.shown(scaled.high)), h("li", {}, "grey: not known yet")));
    this.show();
  }

  private show(): void {
    const step = this.steps[this.at]!;
    this.cursor.style.left = `${(100 * (this.at + 0.5)) / this.steps.length}%`;
    this.slider.setAttribute("aria-valuetext", `step ${whole(step)}`);
    fill(this.now, `Step ${whole(step)}`);
    this.now.dataset["value"] = String(step);
    const rows = this.content.sites.map((site, place) => ({ ...site, place, value: this.value(place, this.at) }));
    fill(this.table, h("details", {}, h("summary", {}, `${NAMES[this.figure] ?? this.figure} of each layer at this moment`),
      sortable("Layers at this moment", [
        { name: "site", text: true, by: (row) => row.place, cell: (row) => h("bdi", { title: row.name }, shortened(row.name, 48)) },
        { name: "activation", text: true, by: (row) => row.activation, cell: (row) => row.activation },
        { name: "units", by: (row) => row.units, cell: (row) => whole(row.units) },
        { name: NAMES[this.figure] ?? this.figure, by: (row) => (Number.isFinite(row.value) ? row.value : -1), cell: (row) => this.shown(row.value) },
      ], rows)));
  }

  private under(event: MouseEvent): { at: number; place: number } {
    const box = this.canvas.getBoundingClientRect();
    return {
      at: bounded(Math.floor(((event.clientX - box.left) / box.width) * this.steps.length), this.steps.length),
      place: bounded(Math.floor(((event.clientY - box.top) / box.height) * this.content.sites.length), this.content.sites.length),
    };
  }

  private hover(event: PointerEvent): void {
    const { at, place } = this.under(event);
    const value = this.value(place, at);
    showTip([shortened(this.content.sites[place]!.name, 60), `step ${whole(this.steps[at]!)}`,
      `${(NAMES[this.figure] ?? this.figure).toLowerCase()} ${Number.isFinite(value) ? this.shown(value) : "not known yet"}`], event.clientX, event.clientY);
  }
}

function alarms(content: Content): HTMLElement {
  const { alarms: told, remarks } = content;
  return section("alarms", "Alarms", told.length ? "In the order in which they were raised." : "None above info was raised.",
    told.length ? list(told) : null,
    remarks.length ? h("details", {}, h("summary", {}, `${counted(remarks.length, "remark")} of level info`), list(remarks)) : null);
}

function list(found: Alarm[][]): HTMLElement {
  return h("ol", { class: "findings" }, ...found.map((alike) => {
    const [alarm, ...others] = alike as [Alarm, ...Alarm[]];
    return h("li", { class: `finding level-${alarm.level}` },
      h("div", { class: "finding-head" }, h("span", { class: "level" }, alarm.level), h("b", {}, `step ${whole(alarm.step)}`),
        h("span", { class: "finding-site" }, where(alarm)), h("code", { class: "rule" }, shortened(alarm.rule, 40))),
      h("p", { class: "message" }, alarm.message),
      others.length ? h("details", {}, h("summary", {}, `The same at ${counted(others.length, "site")} more`),
        h("ul", {}, ...others.map((other) => h("li", {}, where(other), `: ${other.message}`)))) : null,
      ...[...new Set(alike.map((each) => each.advice))].map((words) => h("p", { class: "advice" }, h("b", {}, "What to do: "), words)));
  }));
}

function where(alarm: Alarm): HTMLElement {
  return h("bdi", {}, shortened(alarm.site ?? "the network as a whole", 60));
}

function controls(found: Control[]): HTMLElement {
  const [made, refused] = [found.filter((each) => !each.refused), found.filter((each) => each.refused)];
  return section("controls", "Controls", made.length ? "What was done to the training at alarms, in order." : "Nothing was done to the training.",
    made.length ? controlList(made) : null,
    refused.length ? h("details", {}, h("summary", {}, `${whole(refused.length)} refused`), controlList(refused)) : null);
}

function controlList(found: Control[]): HTMLElement {
  const held = (control: Control): string =>
    control.refused ? "refused" : control.until === null ? "held to the end" : `until step ${whole(control.until)}`;
  return h("ol", { class: "findings" }, ...found.map((control) =>
    h("li", { class: "finding control" },
      h("div", { class: "finding-head" }, h("span", { class: "level" }, control.kind), h("b", {}, `step ${whole(control.step)}`), h("span", {}, held(control)),
        h("span", { class: "finding-site" }, h("bdi", {}, shortened(control.site ?? "a layer that no site follows", 60))), h("code", { class: "rule" }, shortened(control.alarm, 40))),
      h("p", { class: "message" }, control.message),
      h("p", { class: "advice" }, h("b", {}, "Why: "), control.evidence))));
}
