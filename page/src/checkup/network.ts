// The network from input to output: a strip of units a layer, by block, to be searched, folded and walked through.

import { append, choice, fill, h, section, uniqueId } from "../dom";
import { counted, share, shortened, whole } from "../format";
import { rampKey, swatch } from "../legend";
import { drawn } from "../theme";
import { palette } from "../colour";
import { hideTip, showTip } from "../tip";
import { blocks, type Block } from "./blocks";
import { SHOWN_WORDS, type Checkup, type Shown, type Site } from "./model";
import { behind, columnsOf, drawStrip } from "./strip";
import { siteWords, unitWords } from "./words";

const OPEN_UP_TO = 40;

interface Row {
  site: Site;
  option: HTMLElement;
  canvas: HTMLCanvasElement;
  cursor: HTMLElement;
  /** Place of the keyboard's cursor in the order shown. */
  place: number;
}

interface BlockView {
  block: Block;
  element: HTMLElement;
  list: HTMLElement;
  rows: Row[];
  fold: ((open: boolean) => void) | null;
  drawHead: () => void;
}

export class Network {
  readonly element: HTMLElement;
  private readonly views: BlockView[];
  private readonly empty = h("p", { class: "empty", hidden: true }, "No layer has this in its name.");
  private sorted = true;

  constructor(private readonly checkup: Checkup, private readonly choose: (site: Site) => void) {
    const found = blocks(checkup.sites);
    this.views = found.map((block) => this.blockView(block, found.length > 1));
    const folds = this.views.filter((view) => view.fold);
    for (const view of folds) view.fold?.(checkup.sites.length <= OPEN_UP_TO);
    this.element = section(
      "network",
      "The network",
      "From input to output, a row each layer: its units by how often they fire. The lane below a strip marks what is wrong.",
      this.tools(folds.length > 0),
      this.legend(),
      h("div", { class: "layers" }, ...this.views.map((view) => view.element), this.empty),
    );
    drawn(() => this.draw());
  }

  /** Mark the site that the page shows. */
  mark(chosen: Site): void {
    for (const { site, option } of this.rows()) option.setAttribute("aria-selected", String(site === chosen));
  }

  private rows(): Row[] {
    return this.views.flatMap((view) => view.rows);
  }

  private tools(folds: boolean): HTMLElement {
    const search = h("input", {
      type: "search", placeholder: "Find a layer", "aria-label": "Find a layer by its name", class: "search",
      oninput: (event) => this.search((event.target as HTMLInputElement).value),
    });
    const order = choice("Order of the units", [["sorted", "By firing rate"], ["own", "As in the layer"]], "sorted", (value) => {
      this.sorted = value === "sorted";
      this.draw();
    });
    const all = (open: boolean, words: string): HTMLElement =>
      h("button", { type: "button", class: "quiet", onclick: () => this.views.forEach((view) => view.fold?.(open)) }, words);
    return h("div", { class: "tools" }, search, order, folds && [all(true, "Unfold all"), all(false, "Fold all")]);
  }

  private legend(): HTMLElement {
    const element = h("div", { class: "strip-legend" });
    drawn(() => {
      const colours = palette();
      const states: Shown[] = ["dead", "locked", "unproven", "dormant"];
      fill(
        element,
        h("ul", { class: "keys" },
          swatch(colours.never, "never fires"), rampKey("seldom", "often"), swatch(colours.always, "always fires")),
        h("ul", { class: "keys" }, h("li", { class: "keys-title" }, "Lane:"),
          ...states.map((state) => swatch(colours[state], SHOWN_WORDS[state]))),
      );
    });
    return element;
  }

  private blockView(block: Block, foldable: boolean): BlockView {
    const list = h("ol", { class: "rows", role: "listbox", "aria-label": block.name ? `Layers of ${block.name}` : "Layers" });
    const rows = block.sites.map((site) => this.row(site));
    for (const [place, row] of rows.entries()) {
      row.option.tabIndex = place === 0 ? 0 : -1;
      list.append(row.option);
    }
    if (!foldable) return { block, element: list, list, rows, fold: null, drawHead: () => {} };
    return this.foldable(block, list, rows);
  }

  private foldable(block: Block, list: HTMLElement, rows: Row[]): BlockView {
    const id = uniqueId("block");
    list.id = id;
    const canvas = h("canvas", { class: "strip", "aria-hidden": "true" });
    const total = (state: Shown): number => block.sites.reduce((sum, site) => sum + (state === "others" ? 0 : site[state]), 0);
    const units = block.sites.reduce((sum, site) => sum + site.units, 0);
    const button = h("button", { type: "button", class: "block-head", "aria-controls": id, "aria-expanded": "true" },
      h("span", { class: "fold-sign", "aria-hidden": "true" }),
      h("span", { class: "row-name" }, h("bdi", {}, shortened(block.name, 48)),
        h("small", {}, `${counted(block.sites.length, "site")} · ${counted(units, "unit")}`)));
    const element = h("div", { class: "block" },
      h("div", { class: "block-line" }, button, canvas, chips(total, units)), list);
    const fold = (open: boolean): void => {
      button.setAttribute("aria-expanded", String(open));
      list.hidden = !open;
      element.classList.toggle("open", open);
    };
    button.addEventListener("click", () => fold(button.getAttribute("aria-expanded") !== "true"));
    const drawHead = (): void => drawStrip(canvas, this.checkup, block.sites.map((site) => [site, this.order(site)]));
    return { block, element, list, rows, fold, drawHead };
  }

  private row(site: Site): Row {
    const canvas = h("canvas", { class: "strip", "aria-hidden": "true" });
    const cursor = h("i", { class: "cursor", hidden: true, "aria-hidden": "true" });
    const option = h(
      "li",
      { role: "option", class: "row", "aria-selected": "false", title: site.name.length > 30 ? site.name : null },
      h("span", { class: "row-name" }, h("bdi", {}, shortened(site.name, 48)),
        h("small", {}, `${site.activation} · ${counted(site.units, "unit")}${site.is_output ? " · output" : ""}`)),
      h("span", { class: "strip-frame" }, canvas, cursor),
      chips((state) => (state === "others" ? 0 : site[state]), site.units),
      h("span", { class: "visually-hidden" }, siteWords(site)),
    );
    const row: Row = { site, option, canvas, cursor, place: -1 };
    option.addEventListener("click", () => this.select(row));
    option.addEventListener("keydown", (event) => this.key(event, row));
    option.addEventListener("blur", () => this.point(row, -1));
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      const column = Math.floor(((event.clientX - box.left) / box.width) * columnsOf(site.units));
      const [first, end] = behind(Math.min(Math.max(column, 0), columnsOf(site.units) - 1), site.units);
      showTip(this.words(site, first, end), event.clientX, event.clientY);
    });
    canvas.addEventListener("pointerleave", hideTip);
    return row;
  }

  private order(site: Site): Uint32Array | null {
    return this.sorted ? this.checkup.order(site) : null;
  }

  private words(site: Site, first: number, end: number): string[] {
    const order = this.order(site);
    const at = (place: number): number => (order ? order[place]! : place);
    const lines = unitWords(this.checkup, site, at(first));
    if (end - first > 1) lines.push(`and ${counted(end - first - 1, "other")} in this column; choose the layer to see each`);
    return lines;
  }

  private select(row: Row): void {
    this.choose(row.site);
  }

  private key(event: KeyboardEvent, row: Row): void {
    const rows = this.rows().filter((each) => each.option.offsetParent !== null);
    const here = rows.indexOf(row);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) this.focus(rows[here + step]);
    else if (event.key === "Home") this.focus(rows[0]);
    else if (event.key === "End") this.focus(rows.at(-1));
    else if (event.key === "ArrowRight") this.point(row, Math.min(row.place + 1, row.site.units - 1));
    else if (event.key === "ArrowLeft") this.point(row, Math.max(row.place - 1, 0));
    else if (event.key === "Enter" || event.key === " ") this.select(row);
    else if (event.key === "Escape") this.point(row, -1);
    else return;
    event.preventDefault();
  }

  private focus(row: Row | undefined): void {
    if (!row) return;
    for (const view of this.views) {
      if (view.rows.includes(row)) for (const each of view.rows) each.option.tabIndex = each === row ? 0 : -1;
    }
    row.option.focus();
  }

  /** Put the keyboard's cursor on a unit and tell of it; −1 takes it away. */
  private point(row: Row, place: number): void {
    row.place = place;
    row.cursor.hidden = place < 0;
    if (place < 0) {
      hideTip();
      return;
    }
    const [box, part] = [row.canvas.getBoundingClientRect(), (place + 0.5) / row.site.units];
    row.cursor.style.left = `${100 * part}%`;
    showTip(this.words(row.site, place, place + 1), box.left + part * box.width, box.bottom - 12, true);
  }

  private search(text: string): void {
    const wanted = text.trim().toLowerCase();
    let any = false;
    for (const view of this.views) {
      let shown = 0;
      for (const { site, option } of view.rows) {
        const fits = !wanted || site.name.toLowerCase().includes(wanted) || site.activation.toLowerCase().includes(wanted);
        option.hidden = !fits;
        shown += fits ? 1 : 0;
      }
      view.element.hidden = shown === 0;
      if (wanted && shown) view.fold?.(true);
      any ||= shown > 0;
    }
    this.empty.hidden = any;
  }

  private draw(): void {
    for (const view of this.views) {
      view.drawHead();
      for (const { site, canvas } of view.rows) drawStrip(canvas, this.checkup, [[site, this.order(site)]]);
    }
  }
}

/** Counts of what is wrong as small labels, with their share. */
function chips(count: (state: Shown) => number, units: number): HTMLElement {
  const element = h("span", { class: "chips" });
  const states: Shown[] = ["dead", "locked", "unproven", "dormant"];
  append(
    element,
    states.filter((state) => count(state) > 0).map((state) =>
      h("span", { class: `chip chip-${state}` }, h("b", {}, whole(count(state))), ` ${SHOWN_WORDS[state]} `,
        h("small", {}, share(count(state) / units)))),
  );
  return element;
}
