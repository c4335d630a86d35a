// The chosen site: what it is, its units one by one, and what another slope would do to it.

import { fill, h, section } from "../dom";
import { counted, number, share, shortened, whole } from "../format";
import { Explorer } from "./explorer";
import type { Checkup, Site } from "./model";
import { unitGrid } from "./grid";
import { leftOut, unitRanges } from "./ranges";
import { siteWords } from "./words";

export class SiteView {
  readonly element: HTMLElement;
  private readonly body = h("div", { class: "site-body" });
  private readonly picker: HTMLSelectElement;

  constructor(private readonly checkup: Checkup, choose: (site: Site) => void) {
    this.picker = h("select", { "aria-label": "Site", onchange: () => {
      const site = checkup.sites[this.picker.selectedIndex];
      if (site) choose(site);
    } });
    for (const [place, site] of checkup.sites.entries()) {
      this.picker.append(h("option", { value: place }, `${place + 1}  ${shortened(site.name, 60)}`));
    }
    this.element = section(
      "site",
      "One layer",
      "Choose it here, in the network or in a chart.",
      h("div", { class: "tools" }, this.picker),
      this.body,
    );
  }

  show(site: Site): void {
    const explorer = new Explorer(this.checkup, site);
    this.picker.selectedIndex = this.checkup.sites.indexOf(site);
    fill(
      this.body,
      h("h3", { class: "site-name", title: site.name }, h("bdi", {}, shortened(site.name, 90)), " ", h("small", {}, siteWords(site))),
      facts(site),
      unitGrid(this.checkup, site),
      h("div", { class: "charts" },
        h("div", { class: "stack" }, unitRanges(this.checkup, site) ?? leftOut(), explorer.picture?.element),
        explorer.element),
    );
  }
}

function facts(site: Site): HTMLElement {
  const rows: [string, string | null][] = [
    ["activation", site.activation + (site.slopes_differ ? ", a slope a unit" : "")],
    ["units", whole(site.units)],
    ["samples", whole(site.samples)],
    ["silent units fire on at most", site.bound === null ? null : `${share(site.bound)} of such samples, all of them at once`],
    ["range of z", site.range],
    ["E h²", site.second_moment === null ? null : number(site.second_moment, 3)],
    ["root mean square of ∂L/∂h", site.gradient_rms === null ? null : number(site.gradient_rms, 3)],
    ["shape of z", site.shape.length ? site.shape.join(" × ") : null],
    ["runs a pass", site.calls > 1 ? counted(site.calls, "time") : null],
    ["source", site.source],
    ["weights before it", site.producers.length ? site.producers.join("; ") : null],
  ];
  return h(
    "dl",
    { class: "facts" },
    ...rows.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}
