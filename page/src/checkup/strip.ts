// A strip of a layer's units: the firing rate in colour, and below it a lane that marks what is wrong.
//
// No unit may vanish: where several share a column, the lane shows the worst of them.

import { palette, rateColours, rgbOf, type Rgb } from "../colour";
import { SHOWN, type Checkup, type Shown, type Site } from "./model";

const RATE_ROWS = 3;
const LANE_ROWS = 1;
/** Columns of a strip; a wider layer shares them out. */
export const MOST_COLUMNS = 640;

export function columnsOf(units: number): number {
  return Math.min(units, MOST_COLUMNS);
}

/** The units behind a column, as places in the order shown: [first, last + 1). */
export function behind(column: number, units: number): [number, number] {
  const columns = columnsOf(units);
  return [Math.floor((column * units) / columns), Math.floor(((column + 1) * units) / columns)];
}

export function drawStrip(canvas: HTMLCanvasElement, checkup: Checkup, parts: readonly [Site, Uint32Array | null][]): void {
  const units = parts.reduce((sum, [site]) => sum + site.units, 0);
  const columns = columnsOf(units);
  canvas.width = Math.max(1, columns);
  canvas.height = RATE_ROWS + LANE_ROWS;
  const context = canvas.getContext("2d");
  if (!context || !columns) return;
  const image = context.createImageData(columns, canvas.height);
  const colourOf = rateColours();
  const lanes = laneColours();
  const reader = sequence(parts);
  for (let column = 0; column < columns; column++) {
    const [first, end] = behind(column, units);
    let [rates, seen, worst, smooth] = [0, 0, SHOWN.length - 1, false];
    for (let place = first; place < end; place++) {
      const [site, unit] = reader(place);
      const rate = checkup.rate(site, unit);
      if (!Number.isNaN(rate)) {
        rates += rate;
        seen += 1;
        smooth ||= site.smooth;
      }
      worst = Math.min(worst, SHOWN.indexOf(checkup.shown(site, unit)));
    }
    const colour = colourOf(seen ? rates / seen : NaN, smooth);
    for (let row = 0; row < RATE_ROWS; row++) put(image, column, row, colour);
    const lane = lanes[SHOWN[worst]!];
    if (lane) for (let row = RATE_ROWS; row < RATE_ROWS + LANE_ROWS; row++) put(image, column, row, lane);
  }
  context.putImageData(image, 0, 0);
}

/** Read units of several sites as one row, from left to right. */
function sequence(parts: readonly [Site, Uint32Array | null][]): (place: number) => [Site, number] {
  let [part, start] = [0, 0];
  return (place) => {
    while (place - start >= parts[part]![0].units) {
      start += parts[part]![0].units;
      part += 1;
    }
    const [site, order] = parts[part]!;
    const at = place - start;
    return [site, order ? order[at]! : at];
  };
}

function laneColours(): Record<Shown, Rgb | null> {
  const colours = palette();
  return {
    dead: rgbOf(colours.dead),
    locked: rgbOf(colours.locked),
    unproven: rgbOf(colours.unproven),
    dormant: rgbOf(colours.dormant),
    others: null,
  };
}

function put(image: ImageData, x: number, y: number, [r, g, b]: Rgb): void {
  const at = 4 * (y * image.width + x);
  image.data[at] = r;
  image.data[at + 1] = g;
  image.data[at + 2] = b;
  image.data[at + 3] = 255;
}
