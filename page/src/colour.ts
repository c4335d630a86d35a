// Colours that the colour-blind tell apart (Okabe & Ito 2008; blues by lightness), for both themes.

import { interpolateRgbBasis, rgb } from "d3";
import { theme, type Theme } from "./theme";

export type Rgb = readonly [number, number, number];

interface Palette {
  /** Between never and always, ends left out. */
  rate: readonly string[];
  never: string;
  always: string;
  nothing: string;
  dead: string;
  locked: string;
  unproven: string;
  dormant: string;
  others: string;
  ink: string;
  muted: string;
  line: string;
  accent: string;
  closed: string;
}

const PALETTES: Record<Theme, Palette> = {
  light: {
    rate: ["#dbe8f4", "#9cc3e4", "#5496cc", "#22669f", "#0b3a66"],
    never: "#d55e00", always: "#e8b500", nothing: "#c9ced4",
    dead: "#d55e00", locked: "#e8b500", unproven: "#b0589b", dormant: "#35a3d6", others: "#c3d3e2",
    ink: "#1b1f24", muted: "#57606a", line: "#d5dbe1", accent: "#0b5cad", closed: "#b0589b",
  },
  dark: {
    rate: ["#1d3245", "#265680", "#3b80bd", "#76b1e4", "#cbe5fb"],
    never: "#f0812f", always: "#f2c84b", nothing: "#454c54",
    dead: "#f0812f", locked: "#f2c84b", unproven: "#d98ac6", dormant: "#56b4e9", others: "#33485c",
    ink: "#e6e9ec", muted: "#9aa5b0", line: "#333a41", accent: "#6cb3f5", closed: "#d98ac6",
  },
};

export function palette(): Palette {
  return PALETTES[theme()];
}

export function rgbOf(colour: string): Rgb {
  const { r, g, b } = rgb(colour);
  return [Math.round(r), Math.round(g), Math.round(b)];
}

/** A pixel of ImageData, as one number. */
export function packed([r, g, b]: Rgb): number {
  return (255 << 24) | (b << 16) | (g << 8) | r;
}

const STEPS = 256;
const tables = new Map<Theme, Rgb[]>();

/** The colour of a figure between 0 and 1, without ends that stand apart. */
export function rampColours(): (value: number) => Rgb {
  const [table, nothing] = [ramp(), rgbOf(palette().nothing)];
  return (value) => (Number.isNaN(value) ? nothing : table[Math.round(value * (STEPS - 1))]!);
}

/** The colour of a firing rate: never and always stand apart; always does not where that is how a unit is (`smooth`). */
export function rateColours(): (rate: number, smooth: boolean) => Rgb {
  const colours = palette();
  const table = ramp();
  const [never, always, nothing] = [rgbOf(colours.never), rgbOf(colours.always), rgbOf(colours.nothing)];
  return (rate, smooth) => {
    if (Number.isNaN(rate)) return nothing;
    if (rate <= 0) return never;
    if (rate >= 1) return smooth ? table[STEPS - 1]! : always;
    return table[Math.floor(rate * STEPS)]!;
  };
}

function ramp(): Rgb[] {
  let table = tables.get(theme());
  if (!table) {
    const between = interpolateRgbBasis([...palette().rate]);
    table = Array.from({ length: STEPS }, (_, step) => rgbOf(between(step / (STEPS - 1))));
    tables.set(theme(), table);
  }
  return table;
}
