// Every unit of a layer as a cell of its own: the strip, zoomed in. A slider for the keyboard and screen readers.

import { palette, rateColours, rgbOf } from "../colour";
import { h } from "../dom";
import { counted } from "../format";
import { drawn } from "../theme";
import { hideTip, showTip } from "../tip";
import type { Checkup, Site } from "./model";
import { unitWords } from "./words";

/** Side of a cell in pixels, by the number of units: from few and large to many and small. */
const SIDES: [most: number, side: number][] = [[128, 18], [512, 14], [2048, 10], [8192, 6], [Infinity, 4]];

export function unitGrid(checkup: Checkup, site: Site): HTMLElement {
  const side = SIDES.find(([most]) => site.units <= most)![1];
  const canvas = h("canvas", {
    class: "grid", tabindex: 0, role: "slider", "aria-label": `Units of this layer, one by one: ${counted(site.units, "unit")}`,
    "aria-valuemin": 0, "aria-valuemax": Math.max(0, site.units - 1), "aria-valuenow": 0, "aria-valuetext": "unit 0",
  });
  const frame = h("div", { class: "grid-frame", "data-chart": "unit-grid" }, canvas);
  let columns = 1;
  let unit = 0;
  let focused = false;
  const order = checkup.order(site);

  const draw = (): void => {
    const width = Math.max(side, frame.clientWidth || 320);
    columns = Math.max(1, Math.min(site.units, Math.floor(width / side)));
    paint(canvas, checkup, site, { side, columns, order, cursor: focused ? unit : -1 });
  };
  const tell = (event: { x: number; y: number }, speak: boolean): void => {
    const words = unitWords(checkup, site, order[unit]!);
    canvas.setAttribute("aria-valuenow", String(unit));
    canvas.setAttribute("aria-valuetext", words.join(". "));
    showTip(words, event.x, event.y, speak);
  };
  canvas.addEventListener("pointermove", (event) => {
    const found = Math.floor(event.offsetY / side) * columns + Math.floor(event.offsetX / side);
    if (found >= site.units || event.offsetX >= columns * side) return hideTip();
    unit = found;
    return tell({ x: event.clientX, y: event.clientY }, false);
  });
  canvas.addEventListener("pointerleave", hideTip);
  canvas.addEventListener("focus", () => {
    focused = true;
    draw();
  });
  canvas.addEventListener("blur", () => {
    focused = false;
    hideTip();
    draw();
  });
  canvas.addEventListener("keydown", (event) => {
    const steps: Record<string, number> = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -site.units, End: site.units,
      PageDown: 10 * columns, PageUp: -10 * columns,
    };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    unit = Math.min(Math.max(unit + step, 0), site.units - 1);
    draw();
    const box = canvas.getBoundingClientRect();
    tell({ x: box.left + ((unit % columns) + 0.5) * side, y: box.top + (Math.floor(unit / columns) + 0.5) * side }, false);
  });
  new ResizeObserver(draw).observe(frame);
  drawn(draw);
  return h("figure", { class: "units" },
    h("figcaption", {}, h("strong", {}, "Its units"),
      h("span", {}, "A cell each, the silent ones first; a dot marks the dead, locked, silent so far and dormant. Arrow keys walk through.")),
    frame);
}

interface Look {
  side: number;
  columns: number;
  order: Uint32Array;
  cursor: number;
}

function paint(canvas: HTMLCanvasElement, checkup: Checkup, site: Site, { side, columns, order, cursor }: Look): void {
  const scale = Math.min(2, devicePixelRatio || 1);
  const rows = Math.ceil(site.units / columns);
  canvas.width = columns * side * scale;
  canvas.height = Math.max(1, rows) * side * scale;
  canvas.style.width = `${columns * side}px`;
  canvas.style.height = `${Math.max(1, rows) * side}px`;
  const context = canvas.getContext("2d");
  if (!context) return;
  context.scale(scale, scale);
  const [colourOf, colours, gap] = [rateColours(), palette(), side > 6 ? 1.5 : side > 4 ? 1 : 0.5];
  for (let place = 0; place < site.units; place++) {
    const unit = order[place]!;
    const [x, y] = [(place % columns) * side, Math.floor(place / columns) * side];
    context.fillStyle = `rgb(${colourOf(checkup.rate(site, unit), site.smooth).join()})`;
    context.fillRect(x, y, side - gap, side - gap);
    const shown = checkup.shown(site, unit);
    if (shown !== "others" && side > 4) {
      const [r, g, b] = rgbOf(colours[shown]);
      context.fillStyle = shown === "dead" ? "#fff" : `rgb(${r},${g},${b})`;
      context.beginPath();
      context.arc(x + (side - gap) / 2, y + (side - gap) / 2, side / 5, 0, 7);
      context.fill();
    }
    if (place === cursor) {
      context.strokeStyle = colours.ink;
      context.lineWidth = 2;
      context.strokeRect(x, y, side - gap, side - gap);
    }
  }
}
