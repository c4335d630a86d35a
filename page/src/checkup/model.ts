// A checkup as its page holds it: what src/leaky/report/page/checkup.py packs.

import type { Columns, Numbers, Stored } from "../data";
import type { SlopeTerms, UnitSums } from "../moments";

export interface Finding {
  rule: string;
  level: "error" | "warning" | "info";
  site: string | null;
  /** Of its site in `sites`: names may be shortened to the same. */
  place: number | null;
  units: number[];
  message: string;
  evidence: Record<string, unknown>;
  advice: string;
}

export interface Site {
  name: string;
  activation: string;
  units: number;
  samples: number;
  is_output: boolean;
  smooth: boolean;
  source: string | null;
  shape: number[];
  calls: number;
  threshold: number;
  value: number;
  gain: number;
  negative_slope: number;
  slopes_differ: boolean;
  floor: number | null;
  cap: number | null;
  dead: number;
  locked: number;
  unproven: number;
  dormant: number;
  bound: number | null;
  range: string;
  gradient_rms: number | null;
  producers: string[];
  terms: SlopeTerms | null;
  suggested: number | null;
  start: number;
  bounded: Record<"high" | "low" | "share_high" | "share_low" | "share_below" | "beyond", Stored> | null;
  second_moment: number | null;
  second_moment_closed_form: number | null;
  gradient: number | null;
  shift: number | null;
  shift_closed_form: number | null;
}

type UnitArray =
  | "linear" | "below" | "linear_squares" | "below_squares" | "minimum" | "maximum" | "gradient";

export interface Content {
  kind: "checkup";
  title: string;
  verdict: string;
  level: "error" | "warning" | "info" | "none" | "nothing";
  subtitle: string;
  confidence: string;
  states: string[];
  sites: Site[];
  units: { state: Stored; fired: Stored } & Partial<Record<UnitArray, Stored>>;
  findings: Finding[];
  rules: Record<string, string>;
  not_examined: [string, string][];
  notes: string[];
  versions: Record<string, string>;
  unit_bits: number;
}

/** How a unit is shown: it counts once, as the first of these that it is. */
export const SHOWN = ["dead", "locked", "unproven", "dormant", "others"] as const;
export type Shown = (typeof SHOWN)[number];
export const SHOWN_WORDS: Record<Shown, string> = {
  dead: "dead", locked: "locked", unproven: "silent so far", dormant: "dormant", others: "others",
};

export class Checkup {
  private readonly state: Numbers;
  private readonly fired: Numbers;
  private readonly bit: Map<string, number>;
  private readonly orders = new Map<Site, Uint32Array>();

  constructor(readonly content: Content, readonly columns: Columns) {
    this.state = columns.get(content.units.state);
    this.fired = columns.get(content.units.fired);
    this.bit = new Map(content.states.map((name, place) => [name, 1 << place]));
  }

  get sites(): Site[] {
    return this.content.sites;
  }

  /** Share of the samples on which a unit fired; NaN where nothing finite was seen of it. */
  rate(site: Site, unit: number): number {
    return site.samples ? this.fired[site.start + unit]! / site.samples : NaN;
  }

  firings(site: Site, unit: number): number {
    return this.fired[site.start + unit]!;
  }

  private is(site: Site, unit: number, verdict: string): boolean {
    return (this.state[site.start + unit]! & (this.bit.get(verdict) ?? 0)) !== 0;
  }

  shown(site: Site, unit: number): Shown {
    if (this.state[site.start + unit] === 0) return "others";
    if (this.is(site, unit, "dead")) return "dead";
    if (this.is(site, unit, "locked_negative") || this.is(site, unit, "locked_positive")) return "locked";
    if (this.is(site, unit, "unproven")) return "unproven";
    return this.is(site, unit, "dormant") ? "dormant" : "others";
  }

  /** All verdicts on a unit in words, what follows from another left out. */
  verdicts(site: Site, unit: number): string[] {
    const found = this.content.states.filter((name) => this.is(site, unit, name));
    const told = found.some((name) => name === "dead" || name === "locked_negative" || name === "unproven");
    return found
      .filter((name) => !(told && (name === "silent" || name === "dormant")))
      .map((name) => (name === "unproven" ? "too few samples to call it dead" : name.replaceAll("_", " ")));
  }

  /** Units by firing rate, the silent ones first. */
  order(site: Site): Uint32Array {
    let order = this.orders.get(site);
    if (!order) {
      // One native sort of numbers: firings above, the unit's index below.
      const keys = Float64Array.from({ length: site.units }, (_, unit) => this.firings(site, unit) * 2 ** 22 + unit);
      order = Uint32Array.from(keys.sort(), (key) => key % 2 ** 22);
      this.orders.set(site, order);
    }
    return order;
  }

  /** An array over a site's units, null where the page left it out. */
  array(site: Site, name: UnitArray): Numbers | null {
    const stored = this.content.units[name];
    return stored ? this.columns.get(stored).subarray(site.start, site.start + site.units) : null;
  }

  /** The sign-split sums of a site's units, null where the page left them out. */
  sums(site: Site): ((unit: number) => UnitSums) | null {
    const linear = this.array(site, "linear");
    const below = this.array(site, "below");
    const linearSquares = this.array(site, "linear_squares");
    const belowSquares = this.array(site, "below_squares");
    if (!linear || !below || !linearSquares || !belowSquares) return null;
    const bounded = this.bounded(site);
    return (unit) => ({
      linear: linear[unit]!,
      below: below[unit]!,
      linearSquares: linearSquares[unit]!,
      belowSquares: belowSquares[unit]!,
      ...(bounded && { bounded: bounded(unit) }),
    });
  }

  /** Mean pre-activation of each unit. */
  means(site: Site): Float64Array | null {
    const [linear, below] = [this.array(site, "linear"), this.array(site, "below")];
    if (!linear || !below) return null;
    const beyond = site.bounded && this.columns.get(site.bounded.beyond);
    return Float64Array.from({ length: site.units }, (_, u) => linear[u]! + below[u]! + (beyond ? beyond[u]! : 0));
  }

  private bounded(site: Site): ((unit: number) => NonNullable<UnitSums["bounded"]>) | null {
    if (!site.bounded) return null;
    const { high, low, share_high, share_low, share_below } = site.bounded;
    const arrays = [high, low, share_high, share_low, share_below].map((each) => this.columns.get(each));
    return (unit) => {
      const [h = 0, l = 0, shareHigh = 0, shareLow = 0, shareBelow = 0] = arrays.map((array) => array[unit]!);
      return { high: h, low: l, shareHigh, shareLow, shareBelow };
    };
  }
}
