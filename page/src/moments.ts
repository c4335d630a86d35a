// What another slope would do to a site, from sums kept apart by sign; as leaky's Site.output_moments has it.

/** Coefficients of 1, α and α², means over the site's units. */
export interface SlopeTerms {
  mean: [number, number];
  second_moment: [number, number, number];
  energy: [number, number];
  derivative: [number, number];
  gradient?: [number, number];
}

export interface SiteFigures {
  mean: number;
  secondMoment: number;
  /** Share of the arriving gradient's energy that passes; of the elements where no loss was given. */
  passed: number;
  passedIs: "gradient" | "derivative";
  /** Share of the output's energy that comes from below the threshold. */
  negativeKept: number;
  /** The same of what came in: what a slope of 1 would keep. */
  negativeThere: number;
}

export function siteFigures(terms: SlopeTerms, alpha: number): SiteFigures {
  const [s0, s1, s2] = terms.second_moment;
  const passing = terms.gradient ?? terms.derivative;
  const [above, below] = terms.energy;
  const kept = alpha * alpha * below;
  return {
    mean: terms.mean[0] + alpha * terms.mean[1],
    secondMoment: s0 + alpha * s1 + alpha * alpha * s2,
    passed: passing[0] + alpha * alpha * passing[1],
    passedIs: terms.gradient ? "gradient" : "derivative",
    negativeKept: above + kept > 0 ? kept / (above + kept) : 0,
    negativeThere: above + below > 0 ? below / (above + below) : 0,
  };
}

/** Of one unit: Σz and Σz² ÷ elements by region, and what is held at bounds where the site has such. */
export interface UnitSums {
  linear: number;
  below: number;
  linearSquares: number;
  belowSquares: number;
  bounded?: { high: number; low: number; shareHigh: number; shareLow: number; shareBelow: number };
}

export function unitMoments(unit: UnitSums, alpha: number, gain: number, value: number): [mean: number, second: number] {
  const { high, low, shareHigh, shareLow, shareBelow } = unit.bounded ?? NOT_BOUNDED;
  const mean = unit.linear + high * shareHigh + value * shareBelow + alpha * (unit.below + low * shareLow);
  const second =
    unit.linearSquares + high * high * shareHigh + value * value * shareBelow +
    2 * alpha * value * unit.below + alpha * alpha * (unit.belowSquares + low * low * shareLow);
  return [gain * mean, gain * gain * second];
}

const NOT_BOUNDED = { high: 0, low: 0, shareHigh: 0, shareLow: 0, shareBelow: 0 };

export interface Shape {
  threshold: number;
  value: number;
  gain: number;
  floor: number | null;
  cap: number | null;
}

/** The function of a site at one point, for any slope. */
export function activation(z: number, alpha: number, shape: Shape): number {
  const held = Math.min(Math.max(z, shape.floor ?? -Infinity), shape.cap ?? Infinity);
  return shape.gain * (held > shape.threshold ? held : alpha * held + shape.value);
}
