// What if this site's slope were another: figures from the sign-split sums, for any α, the input held as it is.

import * as Plot from "@observablehq/plot";
import { chart, keys, type Chart } from "../chart";
import { palette } from "../colour";
import { fill, h, uniqueId } from "../dom";
import { number, share } from "../format";
import { activation, siteFigures, unitMoments } from "../moments";
import type { Checkup, Site } from "./model";

const POINTS = 200;

export class Explorer {
  readonly element: HTMLElement;
  private alpha: number;
  private readonly outputs = h("dl", { class: "figures", "aria-live": "off" });
  private readonly range: HTMLInputElement;
  private readonly entry: HTMLInputElement;
  /** The function of the site, to stand where it fits. */
  readonly picture: Chart | null;
  private scheduled = 0;

  constructor(private readonly checkup: Checkup, private readonly site: Site) {
    this.alpha = site.negative_slope;
    const id = uniqueId("slope");
    const reach = Math.max(1, Math.ceil(Math.abs(this.alpha)));
    this.range = h("input", {
      type: "range", id, min: this.alpha < 0 ? -reach : 0, max: reach, step: 0.005, value: this.alpha, "data-slope": "range",
      oninput: () => this.set(Number(this.range.value)),
    });
    this.entry = h("input", {
      type: "number", step: "any", value: this.alpha, "aria-label": "Negative slope α as a number", "data-slope": "number",
      oninput: () => this.entry.value.trim() !== "" && Number.isFinite(Number(this.entry.value)) && this.set(Number(this.entry.value)),
    });
    this.picture = site.terms && this.drawing();
    if (!site.terms) {
      this.element = h("p", { class: "empty" },
        `${site.activation} is smooth: no part of it is α·z, so another slope cannot be read off its sums.`);
      return;
    }
    this.element = h("div", { class: "explorer" },
      h("div", { class: "slope" },
        h("label", { for: id }, "What if its negative slope α were"), this.range, this.entry, this.presets()),
      this.outputs);
    this.show();
  }

  private presets(): HTMLElement {
    const { negative_slope: own, suggested } = this.site;
    const wanted: [string, number][] = [[`as it is, ${number(own)}`, own]];
    if (suggested !== null && suggested !== own) wanted.push([`suggested, ${number(suggested)}`, suggested]);
    for (const slope of [0, 0.01, 0.2]) {
      if (!wanted.some(([, known]) => known === slope)) wanted.push([String(slope), slope]);
    }
    return h("div", { class: "presets" },
      ...wanted.map(([words, slope]) => h("button", { type: "button", class: "quiet", onclick: () => this.set(slope) }, words)));
  }

  private set(alpha: number): void {
    this.alpha = alpha;
    if (document.activeElement !== this.entry) this.entry.value = String(alpha);
    this.range.value = String(alpha);
    this.show();
    if (!this.scheduled) {
      this.scheduled = requestAnimationFrame(() => {
        this.scheduled = 0;
        this.picture?.draw();
      });
    }
  }

  private show(): void {
    const terms = this.site.terms;
    if (!terms) return;
    const [now, was] = [siteFigures(terms, this.alpha), siteFigures(terms, this.site.negative_slope)];
    this.range.setAttribute("aria-valuetext", `α ${this.alpha}: E h ${number(now.mean, 3)}, E h² ${number(now.secondMoment, 3)}`);
    const row = (id: string, name: string, value: number, before: number, shown: (value: number) => string, words: string): HTMLElement =>
      h("div", { "data-figure": id, "data-value": value },
        h("dt", {}, name, h("small", {}, words)),
        h("dd", {}, h("b", {}, shown(value)), this.alpha === this.site.negative_slope ? null : h("small", {}, `now ${shown(before)}`)));
    const figure = (value: number): string => number(value, 4);
    fill(this.outputs,
      row("mean", "Mean E h", now.mean, was.mean, figure, "over the units"),
      row("second_moment", "Second moment E h²", now.secondMoment, was.secondMoment, figure,
        `centred Gaussian input: ${number(this.gaussian(), 3)}`),
      row("passed", now.passedIs === "gradient" ? "Gradient passed" : "Derivative E (dh/dz)²", now.passed, was.passed, share,
        now.passedIs === "gradient" ? "of the energy that arrives" : "no loss was given: over the elements"),
      row("negative_kept", "Negative information kept", now.negativeKept, was.negativeKept, share,
        `of the output's energy; ${share(now.negativeThere)} of what came in`),
      this.strongest());
  }

  /** E h² of a centred Gaussian input of the same energy: gain²·E z²·(1 + α²)/2. */
  private gaussian(): number {
    const [above, below] = this.site.terms!.energy;
    return this.site.gain ** 2 * (above + below) * (1 + this.alpha ** 2) / 2;
  }

  /** How far the units differ: the largest share of E h² that one unit has. */
  private strongest(): HTMLElement | null {
    const sums = this.checkup.sums(this.site);
    if (!sums) return null;
    let [total, most, which] = [0, -1, 0];
    for (let unit = 0; unit < this.site.units; unit++) {
      const [, second] = unitMoments(sums(unit), this.alpha, this.site.gain, this.site.value);
      if (!Number.isFinite(second)) continue;
      total += second;
      if (second > most) [most, which] = [second, unit];
    }
    return h("div", { "data-figure": "strongest", "data-value": total > 0 ? most / total : 0 },
      h("dt", {}, "Strongest unit", h("small", {}, `unit ${which}`)),
      h("dd", {}, h("b", {}, share(total > 0 ? most / total : 0)), h("small", {}, "of Σ E h²")));
  }

  private drawing(): Chart {
    const site = this.site;
    const [low, high] = this.reach();
    const points = (alpha: number): [number, number][] =>
      Array.from({ length: POINTS + 1 }, (_, at) => {
        const z = low + ((high - low) * at) / POINTS;
        return [z, activation(z, alpha, site)];
      });
    return chart({
      id: "function",
      title: "The function as it stands here",
      words: `h of z over the range that its units saw, with a slope of ${number(site.negative_slope)}.`,
      height: 190,
      legend: () => keys([["line", palette().ink, "as it is"], ["dash", palette().accent, "with the slope chosen"]]),
      plot: () => {
        const colours = palette();
        return {
          x: { label: "z", ticks: 6, tickFormat: (value: number) => number(value) },
          y: { label: "h", grid: true, ticks: 5, tickFormat: (value: number) => number(value) },
          marks: [
            Plot.ruleX([site.threshold], { stroke: colours.line }),
            Plot.ruleY([0], { stroke: colours.line }),
            Plot.line(points(site.negative_slope), { stroke: colours.ink, strokeWidth: 2 }),
            Plot.line(points(this.alpha), { stroke: colours.accent, strokeWidth: 2, strokeDasharray: "5 4" }),
          ],
        };
      },
    });
  }

  private reach(): [number, number] {
    const [low, high] = [this.checkup.array(this.site, "minimum"), this.checkup.array(this.site, "maximum")];
    let [from, to] = [this.site.threshold - 1, this.site.threshold + 1];
    for (let unit = 0; low && high && unit < this.site.units; unit++) {
      if (Number.isFinite(low[unit])) [from, to] = [Math.min(from, low[unit]!), Math.max(to, high[unit]!)];
    }
    return [from, to];
  }
}
