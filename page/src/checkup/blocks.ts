// Sites by block: runs of neighbours whose names begin alike, so that hundreds of them can be folded.

import type { Site } from "./model";

export interface Block {
  name: string;
  sites: Site[];
}

const [LEAST_BLOCKS, FEW_SITES, CHUNK] = [3, 8, 10];

/** The coarsest grouping by the first parts of the names that makes neither too few nor too many blocks. */
export function blocks(sites: Site[]): Block[] {
  if (sites.length <= FEW_SITES) return [{ name: "", sites }];
  for (let depth = 1; depth <= 5; depth++) {
    const found = runs(sites, (site) => site.name.split(".").slice(0, depth).join("."));
    if (found.length >= LEAST_BLOCKS && found.length <= Math.max(6, sites.length / 2)) return found;
  }
  if (sites.length <= 4 * CHUNK) return [{ name: "", sites }];
  return runs(sites, (_, place) => {
    const first = Math.floor(place / CHUNK) * CHUNK;
    return `sites ${first + 1}–${Math.min(first + CHUNK, sites.length)}`;
  });
}

function runs(sites: Site[], key: (site: Site, place: number) => string): Block[] {
  const found: Block[] = [];
  for (const [place, site] of sites.entries()) {
    const name = key(site, place);
    const last = found.at(-1);
    if (last && last.name === name) last.sites.push(site);
    else found.push({ name, sites: [site] });
  }
  return found;
}
