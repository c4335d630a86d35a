// The signs that explain colours: a square of one colour, a ramp between two words.

import { palette } from "./colour";
import { h } from "./dom";

export function swatch(colour: string, words: string): HTMLElement {
  const sign = h("i", { class: "key key-box", "aria-hidden": "true" });
  sign.style.setProperty("--key", colour);
  return h("li", {}, sign, words);
}

export function rampKey(low: string, high: string): HTMLElement {
  const ramp = h("i", { class: "ramp", "aria-hidden": "true" });
  ramp.style.background = `linear-gradient(90deg, ${palette().rate.join(", ")})`;
  return h("li", {}, low, ramp, high);
}
