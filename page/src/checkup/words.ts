// A unit in words: what hover and the keyboard tell.

import { counted, number, share, shortened, whole } from "../format";
import type { Checkup, Site } from "./model";

export function unitWords(checkup: Checkup, site: Site, unit: number): string[] {
  const fired = checkup.firings(site, unit);
  const lines = [
    `${shortened(site.name, 60)} · unit ${unit}`,
    site.samples
      ? `fired on ${whole(fired)} of ${counted(site.samples, "sample")} (${share(fired / site.samples)})`
      : "saw no sample",
  ];
  const verdicts = checkup.verdicts(site, unit);
  if (verdicts.length) lines.push(verdicts.join(", "));
  if (fired === 0 && site.bound !== null) lines.push(`fires on at most ${share(site.bound)} of such samples`);
  const [low, high] = [checkup.array(site, "minimum"), checkup.array(site, "maximum")];
  if (low && high && Number.isFinite(low[unit])) lines.push(`z from ${number(low[unit])} to ${number(high[unit])}`);
  return lines;
}

/** A site's counts of what is wrong, in words. */
export function siteWords(site: Site): string {
  const parts = [
    site.dead ? `${whole(site.dead)} dead` : "",
    site.locked ? `${whole(site.locked)} locked` : "",
    site.unproven ? `${whole(site.unproven)} silent so far` : "",
    site.dormant ? `${whole(site.dormant)} dormant` : "",
  ].filter(Boolean);
  return parts.join(", ") || "none dead, locked or dormant";
}
