// A chart of Observable Plot in a figure: drawn anew when the width or the theme changes, named for screen readers.

import * as Plot from "@observablehq/plot";
import { h } from "./dom";
import { palette } from "./colour";
import { drawn } from "./theme";

export interface ChartOptions<T> {
  /** What the chart is called in the page and by tests. */
  id: string;
  title: string;
  /** What it shows, in a sentence; for screen readers and below the title. */
  words: string;
  height?: number;
  /** What each datum that was clicked stands for. */
  choose?: (datum: T) => void;
  /** A line below, which explains the marks. */
  legend?: () => Node;
  plot: (width: number) => Plot.PlotOptions;
}

const SMALLEST = 240;

export interface Chart {
  element: HTMLElement;
  draw: () => void;
}

export function chart<T = unknown>(options: ChartOptions<T>): Chart {
  const frame = h("div", { class: "chart" });
  const legend = h("div", { class: "legend" });
  const element = h(
    "figure",
    { id: options.id, "data-chart": options.id },
    h("figcaption", {}, h("strong", {}, options.title), h("span", {}, options.words)),
    frame,
    legend,
  );
  let width = 0;
  const draw = (): void => {
    width = Math.max(SMALLEST, Math.floor(frame.clientWidth || SMALLEST));
    const svg = plotted(options, width);
    const choose = options.choose;
    if (choose) {
      svg.classList.add("choosable");
      svg.addEventListener("click", () => {
        const datum = (svg as unknown as { value?: T | null }).value;
        if (datum) choose(datum);
      });
    }
    frame.replaceChildren(svg);
    if (options.legend) legend.replaceChildren(options.legend());
  };
  new ResizeObserver(() => {
    if (Math.abs(Math.floor(frame.clientWidth) - width) > 1) draw();
  }).observe(frame);
  drawn(draw);
  return { element, draw };
}

function plotted<T>(options: ChartOptions<T>, width: number): SVGSVGElement {
  const made = Plot.plot({
    width,
    height: options.height ?? 220,
    marginLeft: 46,
    className: "leaky-plot",
    ...options.plot(width),
  });
  const svg = made as unknown as SVGSVGElement;
  // Plot brings a style sheet of its own, which the page's policy forbids; style/chart.css has its rules.
  svg.querySelector("style")?.remove();
  // A picture has one name; those of its parts, which ARIA forbids on a plain group, serve styles and tests.
  for (const part of svg.querySelectorAll("[aria-label]")) {
    part.setAttribute("data-mark", part.getAttribute("aria-label") ?? "");
    part.removeAttribute("aria-label");
  }
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${options.title}. ${options.words}`);
  return svg;
}

/** Colours of the theme for tips. */
export function tipStyle(): { fill: string; stroke: string } {
  const colours = palette();
  return { fill: "var(--surface)", stroke: colours.line };
}

/** Signs with their meaning, in a row. */
export function keys(items: [shape: "line" | "dash" | "dot" | "ring" | "band", colour: string, words: string][]): Node {
  return h(
    "ul",
    { class: "keys" },
    ...items.map(([shape, colour, words]) => {
      const sign = h("i", { class: `key key-${shape}`, "aria-hidden": "true" });
      sign.style.setProperty("--key", colour);
      return h("li", {}, sign, words);
    }),
  );
}

const MOST_TICKS = 7;

/** Few ticks at round numbers, for an axis of logarithms. */
export function logTicks(low: number, high: number): number[] {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const step = Math.ceil((last - first) / MOST_TICKS);
  const factors = last - first <= 3 ? [1, 2, 5] : [1];
  const found: number[] = [];
  for (let power = first; power <= last; power += step) {
    for (const factor of factors) {
      const tick = Number(`${factor}e${power}`);
      if (tick >= low && tick <= high) found.push(tick);
    }
  }
  return found;
}

/** Whole numbers from 1 to `last`, as many as there is room for. */
export function wholeTicks(last: number, width: number, room = 50): number[] {
  const step = Math.max(1, Math.ceil(last / Math.max(1, Math.floor(width / room))));
  return Array.from({ length: Math.ceil(last / step) }, (_, at) => 1 + at * step);
}
