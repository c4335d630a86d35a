// The findings: worst first, to be filtered and sorted; each with its evidence, what to do, and where to read on.

import { append, choice, fill, h, section } from "./dom";
import { counted, number, ranges, shortened } from "./format";
import type { Finding } from "./checkup/model";

type Order = "level" | "site" | "rule";

const LEVELS = ["error", "warning", "info"] as const;
/** A list of hundreds is drawn when somebody asks for it. */
const SHOWN_AT_ONCE = 40;
const SIGNS = { error: "✕", warning: "!", info: "i" } as const;

export class Findings {
  readonly element: HTMLElement;
  private readonly list = h("ol", { class: "findings" });
  private readonly more = h("div", { class: "more" });
  private readonly count = h("p", { class: "lead", role: "status" });
  private readonly levels = new Set<string>(LEVELS);
  private rule = "";
  private text = "";
  private order: Order = "level";

  constructor(
    private readonly findings: Finding[],
    private readonly rules: Record<string, string>,
    private readonly choose: (place: number) => void,
  ) {
    this.element = section("findings", "Findings", null, this.count, findings.length ? this.tools() : null, this.list, this.more);
    this.show();
  }

  private tools(): HTMLElement {
    const there = LEVELS.filter((level) => this.findings.some((finding) => finding.level === level));
    const levels = there.map((level) =>
      h("label", { class: `level-filter level-${level}` },
        h("input", { type: "checkbox", checked: true, value: level, onchange: (event) => {
          if ((event.target as HTMLInputElement).checked) this.levels.add(level);
          else this.levels.delete(level);
          this.show();
        } }),
        ` ${level} (${this.findings.filter((finding) => finding.level === level).length})`));
    const rule = h("select", { "aria-label": "Rule", onchange: (event) => {
      this.rule = (event.target as HTMLSelectElement).value;
      this.show();
    } }, h("option", { value: "" }, "All rules"),
      ...[...new Set(this.findings.map((finding) => finding.rule))].sort().map((name) => h("option", { value: name }, shortened(name, 40))));
    const search = h("input", { type: "search", class: "search", placeholder: "Find in findings", "aria-label": "Find in findings", oninput: (event) => {
      this.text = (event.target as HTMLInputElement).value.trim().toLowerCase();
      this.show();
    } });
    const order = choice<Order>("Order of the findings", [["level", "Worst first"], ["site", "By site"], ["rule", "By rule"]], "level", (value) => {
      this.order = value;
      this.show();
    });
    return h("div", { class: "tools" }, h("div", { class: "levels", role: "group", "aria-label": "Levels" }, ...levels), rule, search, order);
  }

  private show(): void {
    const shown = this.findings.filter((finding) =>
      this.levels.has(finding.level) &&
      (!this.rule || finding.rule === this.rule) &&
      (!this.text || `${finding.site ?? "network"} ${finding.rule} ${finding.message} ${finding.advice}`.toLowerCase().includes(this.text)));
    const all = this.findings.length;
    this.count.textContent = !all
      ? "Nothing to report."
      : shown.length === all ? counted(all, "finding") : `${shown.length} of ${counted(all, "finding")}`;
    const sorted = this.sorted(shown);
    const [first, rest] = [sorted.slice(0, SHOWN_AT_ONCE), sorted.slice(SHOWN_AT_ONCE)];
    fill(this.list, ...first.map((finding) => this.item(finding)));
    fill(this.more, rest.length > 0 && h("button", { type: "button", onclick: () => {
      this.list.append(...rest.map((finding) => this.item(finding)));
      fill(this.more);
    } }, `Show ${rest.length} more`));
  }

  private sorted(findings: Finding[]): Finding[] {
    // Within a level they stay in the order of the flow, causes first; sorting is stable.
    if (this.order === "level") return [...findings].sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level));
    const place = (finding: Finding): number => finding.place ?? -1;
    return this.order === "site"
      ? [...findings].sort((a, b) => place(a) - place(b))
      : [...findings].sort((a, b) => a.rule.localeCompare(b.rule));
  }

  private item(finding: Finding): HTMLElement {
    const name = finding.site;
    const place = finding.place;
    const where = name === null || place === null
      ? h("span", { class: "finding-site" }, name === null ? "the network as a whole" : shortened(name, 60))
      : h("button", { type: "button", class: "link finding-site", title: name.length > 60 ? name : null, onclick: () => this.choose(place) },
        h("bdi", {}, shortened(name, 60)));
    return h("li", { class: `finding level-${finding.level}`, "data-level": finding.level, "data-rule": finding.rule },
      h("div", { class: "finding-head" },
        h("span", { class: "level" }, h("i", { "aria-hidden": "true" }, SIGNS[finding.level]), finding.level),
        where, h("code", { class: "rule" }, shortened(finding.rule, 40))),
      h("p", { class: "message" }, finding.message),
      finding.level === "info" ? null : advice(finding),
      this.evidence(finding));
  }

  /** The numbers behind it, folded; what is only noted keeps its advice there too, so that the list stays short. */
  private evidence(finding: Finding): HTMLElement {
    const noted = finding.level === "info";
    const details = h("details", {}, h("summary", {}, noted ? "What to do, and the evidence" : "Evidence"));
    details.addEventListener("toggle", () => append(details, [noted && advice(finding), ...this.numbers(finding)]), { once: true });
    return details;
  }

  private numbers(finding: Finding): (HTMLElement | "" | undefined)[] {
    const rows: [string, string][] = Object.entries(finding.evidence).map(([name, value]) => [name.replaceAll("_", " "), valueWords(value)]);
    if (finding.units.length) rows.unshift(["which", ranges(finding.units)]);
    const summary = this.rules[finding.rule];
    return [
      h("dl", { class: "facts" }, ...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
      summary && h("p", { class: "lead" }, `The rule looks for ${summary}. Read on: `, h("code", {}, `docs/rules/${finding.rule}.md`)),
    ];
  }
}

function advice(finding: Finding): HTMLElement {
  return h("p", { class: "advice" }, h("b", {}, "What to do: "), finding.advice);
}

function valueWords(value: unknown): string {
  if (typeof value === "number") return Number.isInteger(value) ? value.toLocaleString("en-US") : number(value, 4);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) {
    const shown = value.slice(0, 12).map((each) => shortened(valueWords(each), 40)).join(", ");
    return value.length > 12 ? `${shown} … (${value.length})` : shown;
  }
  return value === null || value === undefined ? "–" : String(value);
}
