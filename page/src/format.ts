// Numbers for people, in the words that the terminal uses (leaky/text.py).

/** A number in few characters: "1797", "0.012", "−3.1e7"; "–" where there is none. */
export function number(value: number | null | undefined, figures = 2): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  let text = size >= 100 && size < 99_999.5 ? value.toFixed(0) : String(Number(value.toPrecision(figures)));
  if (size !== 0 && (size < 1e-4 || size >= 99_999.5)) text = value.toExponential(figures - 1).replace("e+", "e");
  return text.replaceAll("-", "−");
}

/** A share as a percentage with two figures: .0123 → "1.2%". */
export function share(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const percent = 100 * value;
  return percent >= 9.95 || percent === 0 ? `${halfToEven(percent)}%` : `${Number(percent.toPrecision(2))}%`;
}

/** A half goes to the even number, as Python has it. */
function halfToEven(value: number): number {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value);
}

export function counted(count: number, noun: string): string {
  return `${whole(count)} ${noun}${count === 1 ? "" : "s"}`;
}

export function whole(count: number): string {
  return count.toLocaleString("en-US");
}

/** A name of at most `most` characters, its middle left out: both ends tell layers apart. */
export function shortened(name: string, most = 40): string {
  const characters = Array.from(name);
  if (characters.length <= most) return name;
  const head = Math.ceil((most - 1) / 2);
  return `${characters.slice(0, head).join("")}…${characters.slice(characters.length - (most - 1 - head)).join("")}`;
}

/** Ascending indices with runs drawn together: "0–3, 7 and 5 more". */
export function ranges(units: readonly number[], most = 12): string {
  const runs: [number, number][] = [];
  for (const unit of units) {
    const last = runs.at(-1);
    if (last && unit === last[1] + 1) last[1] = unit;
    else runs.push([unit, unit]);
  }
  const shown = runs.slice(0, most).map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`));
  const rest = runs.slice(most).reduce((sum, [first, last]) => sum + last - first + 1, 0);
  return shown.join(", ") + (rest ? ` and ${whole(rest)} more` : "");
}

/** A place among so many. */
export function bounded(place: number, count: number): number {
  return Math.min(Math.max(place, 0), Math.max(0, count - 1));
}
