// A watched training unit by unit: a row each unit of one layer, time to the right, coloured by firing rate.
//
// No unit that stopped may vanish: rows stand by when a unit last fired, so that those that fell silent lie together
// even where a wide layer shares its rows out.

import { packed, palette, rateColours } from "./colour";
import type { Columns, Numbers, Stored } from "./data";
import { choice, fill, h, section, uniqueId } from "./dom";
import { bounded, counted, ranges, share, shortened, whole } from "./format";
import { rampKey, swatch } from "./legend";
import { sortable } from "./table";
import { drawn } from "./theme";
import { hideTip, showTip } from "./tip";

export interface UnitRates {
  steps: Stored;
  /** By site: bytes, moment by moment; null where the site holds none. */
  cells: (Stored | null)[];
}

interface Layer {
  name: string;
  units: number;
  activation: string;
}

type Order = "silent" | "number";

const UNSEEN = 255;
const ALWAYS = 254;
const [MOST_ROWS, LEAST_SIDE, MOST_SIDE, HEIGHT] = [420, 1, 12, 420];

export class UnitsOverTime {
  readonly element: HTMLElement;
  private readonly cells: (Stored | null)[];
  private readonly steps: Numbers;
  private readonly shown: number[];
  private site: number;
  private order: Order = "silent";
  private units: number[] = [];
  private at: number;
  private row = 0;
  private focused = false;
  private readonly canvas = h("canvas", { class: "heat", "data-chart": "units-over-time", tabindex: 0, role: "slider",
    "aria-label": "A unit at a moment", "aria-valuemin": 0, "aria-valuemax": 0, "aria-valuenow": 0, "aria-valuetext": "" });
  private readonly cross = h("i", { class: "cell-mark", "aria-hidden": "true" });
  private readonly picker: HTMLSelectElement;
  private readonly told = h("p", { class: "lead", "data-figure": "units-told" });
  private readonly legend = h("div", { class: "strip-legend" });
  private readonly table = h("div");

  constructor(rates: UnitRates, private readonly columns: Columns, private readonly layers: Layer[]) {
    this.cells = rates.cells;
    this.steps = columns.get(rates.steps);
    this.shown = layers.flatMap((_, place) => (rates.cells[place] ? [place] : []));
    this.site = this.worst();
    this.at = this.steps.length - 1;
    const id = uniqueId("layer");
    this.picker = h("select", { id, "data-pick": "layer", onchange: () => this.choose(this.shown[this.picker.selectedIndex]!) },
      ...this.shown.map((place) => h("option", {}, `${shortened(layers[place]!.name, 40)} (${counted(layers[place]!.units, "unit")})`)));
    this.listen();
    this.element = section("units", "Unit by unit", "A row each unit of one layer; time runs to the right. Arrow keys walk through.",
      h("div", { class: "tools" }, h("label", { for: id }, "Layer"), this.picker,
        choice<Order>("Order", [["silent", "By when it last fired"], ["number", "By number"]], this.order, (order) => {
          this.order = order;
          this.draw();
        })),
      this.told, h("div", { class: "strip-frame" }, this.canvas, this.cross), this.legend, this.table);
    drawn(() => this.draw());
  }

  choose(site: number): void {
    if (!this.cells[site]) return;
    this.site = site;
    this.row = 0;
    this.draw();
  }

  /** The layer with the largest share of units that did not fire at the last moment. */
  private worst(): number {
    let [worst, most] = [this.shown[0] ?? 0, -1];
    for (const place of this.shown) {
      const silent = this.silentAt(place, this.steps.length - 1) / Math.max(1, this.layers[place]!.units);
      if (silent > most) [worst, most] = [place, silent];
    }
    return worst;
  }

  private silentAt(site: number, at: number): number {
    const [bytes, units] = [this.columns.get(this.cells[site]!), this.layers[site]!.units];
    let count = 0;
    for (let unit = 0; unit < units; unit++) if (bytes[at * units + unit] === 0) count += 1;
    return count;
  }

  /** The last moment at which each unit fired; −1 where it never did. */
  private lastFired(): Int32Array {
    const [bytes, units] = [this.columns.get(this.cells[this.site]!), this.layers[this.site]!.units];
    const last = new Int32Array(units).fill(-1);
    for (let at = 0; at < this.steps.length; at++) {
      for (let unit = 0; unit < units; unit++) {
        const level = bytes[at * units + unit]!;
        if (level > 0 && level < UNSEEN) last[unit] = at;
      }
    }
    return last;
  }

  private draw(): void {
    if (!this.shown.length) return;
    this.picker.selectedIndex = this.shown.indexOf(this.site);
    const [units, times] = [this.layers[this.site]!.units, this.steps.length];
    const last = this.lastFired();
    this.units = Array.from({ length: units }, (_, unit) => unit);
    if (this.order === "silent") this.units.sort((a, b) => last[a]! - last[b]! || a - b);
    const rows = this.rows();
    [this.canvas.width, this.canvas.height] = [times, Math.max(1, rows)];
    this.canvas.style.height = `${rows * Math.min(MOST_SIDE, Math.max(LEAST_SIDE, HEIGHT / Math.max(1, rows)))}px`;
    this.canvas.setAttribute("aria-valuemax", String(Math.max(0, units - 1)));
    this.paint(rows, times);
    this.explain();
    this.tellAll(last);
    this.move();
  }

  private rows(): number {
    return Math.min(this.layers[this.site]!.units, MOST_ROWS);
  }

  private paint(rows: number, times: number): void {
    const context = this.canvas.getContext("2d");
    if (!context) return;
    const image = context.createImageData(times, rows);
    const pixels = new Uint32Array(image.data.buffer);
    const colourOf = rateColours();
    for (let row = 0; row < rows; row++) {
      for (let at = 0; at < times; at++) pixels[row * times + at] = packed(colourOf(this.rate(row, at), true));
    }
    context.putImageData(image, 0, 0);
  }

  /** The units behind a row. */
  private behind(row: number): number[] {
    const [units, rows] = [this.units.length, this.rows()];
    return this.units.slice(Math.floor((row * units) / rows), Math.floor(((row + 1) * units) / rows));
  }

  private rate(row: number, at: number): number {
    const [bytes, units] = [this.columns.get(this.cells[this.site]!), this.units.length];
    let [sum, seen] = [0, 0];
    for (const unit of this.behind(row)) {
      const level = bytes[at * units + unit]!;
      if (level === UNSEEN) continue;
      sum += level;
      seen += 1;
    }
    return seen ? sum / seen / ALWAYS : NaN;
  }

  private tellAll(last: Int32Array): void {
    const [units, end] = [this.units.length, this.steps.length - 1];
    const silent = this.units.filter((unit) => last[unit]! < end);
    const never = silent.filter((unit) => last[unit]! < 0).length;
    const some = silent.length - never;
    const name = h("bdi", {}, shortened(this.layers[this.site]!.name, 60));
    fill(this.told, name, ": ", silent.length
      ? `${whole(silent.length)} of ${counted(units, "unit")} did not fire at the last moment: ${whole(never)} at none of those shown, ${whole(some)} stopped in between.`
      : `all ${counted(units, "unit")} fired at the last moment.`);
    const groups = new Map<number, number[]>();
    for (const unit of [...silent].sort((a, b) => a - b)) groups.set(last[unit]!, [...(groups.get(last[unit]!) ?? []), unit]);
    fill(this.table, silent.length ? h("details", {}, h("summary", {}, "Which units fell silent, and when"),
      sortable("Silent units by when they last fired", [
        { name: "last fired at step", by: ([at]) => at, cell: ([at]) => (at < 0 ? "never" : whole(this.steps[at]!)) },
        { name: "units", by: ([, found]) => found.length, cell: ([, found]) => whole(found.length) },
        { name: "which", text: true, cell: ([, found]) => ranges(found, 16) },
      ], [...groups].sort(([a], [b]) => a - b))) : null);
  }

  private words(): string[] {
    const units = this.behind(this.row);
    const rate = this.rate(this.row, this.at);
    return [units.length === 1 ? `unit ${units[0]}` : `${counted(units.length, "unit")}: ${ranges([...units].sort((a, b) => a - b), 4)}`, `step ${whole(this.steps[this.at]!)}`,
      Number.isNaN(rate) ? "not seen" : rate === 0 ? "never fires" : `fires on ${share(rate)} of the samples`];
  }

  private move(): void {
    this.cross.hidden = !this.focused;
    this.cross.style.left = `${(100 * (this.at + 0.5)) / this.steps.length}%`;
    this.cross.style.top = `${(100 * (this.row + 0.5)) / Math.max(1, this.rows())}%`;
    this.canvas.setAttribute("aria-valuenow", String(this.row));
    this.canvas.setAttribute("aria-valuetext", this.units.length ? this.words().join(". ") : "");
  }

  private listen(): void {
    this.canvas.addEventListener("pointermove", (event) => {
      const box = this.canvas.getBoundingClientRect();
      this.at = bounded(Math.floor(((event.clientX - box.left) / box.width) * this.steps.length), this.steps.length);
      this.row = bounded(Math.floor(((event.clientY - box.top) / box.height) * this.rows()), this.rows());
      this.move();
      showTip(this.words(), event.clientX, event.clientY);
    });
    this.canvas.addEventListener("pointerleave", hideTip);
    this.canvas.addEventListener("focus", () => this.focus(true));
    this.canvas.addEventListener("blur", () => this.focus(false));
    this.canvas.addEventListener("keydown", (event) => {
      const moves: Record<string, [number, number]> = {
        ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1], PageDown: [0, 10], PageUp: [0, -10],
        Home: [-this.steps.length, 0], End: [this.steps.length, 0],
      };
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      this.at = bounded(this.at + move[0], this.steps.length);
      this.row = bounded(this.row + move[1], this.rows());
      this.move();
      const box = this.cross.getBoundingClientRect();
      showTip(this.words(), box.left, box.top, false);
    });
  }

  private focus(focused: boolean): void {
    this.focused = focused;
    if (!focused) hideTip();
    this.move();
  }

  private explain(): void {
    const colours = palette();
    fill(this.legend, h("ul", { class: "keys" }, swatch(colours.never, "never fires"), rampKey("seldom", "often"), swatch(colours.nothing, "not seen")));
  }
}
