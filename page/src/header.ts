// The top of every page: the verdict first, in a sentence, then what it was about.

import { h } from "./dom";
import { themeSwitch } from "./theme";

export type Tone = "error" | "warning" | "info" | "none" | "nothing";

const SIGNS: Record<Tone, string> = { error: "✕", warning: "!", info: "i", none: "✓", nothing: "?" };
const WORDS: Record<Tone, string> = {
  error: "There are errors", warning: "There are warnings", info: "Some things are worth knowing", none: "Nothing to report",
  nothing: "Nothing could be examined",
};

export function pageHeader(
  kind: string, verdict: string, subtitle: string, tone: Tone, parts: [id: string, name: string][] = [], words = WORDS[tone],
): HTMLElement {
  return h(
    "header",
    { class: `page-head tone-${tone}` },
    h("div", { class: "bar" }, h("span", { class: "brand" }, h("b", {}, "leaky"), ` ${kind}`),
      h("nav", { "aria-label": "Parts of the page" }, ...parts.map(([id, name]) => h("a", { href: `#${id}` }, name))), themeSwitch()),
    h("div", { class: "verdict" },
      h("span", { class: "tone", role: "img", "aria-label": words }, SIGNS[tone]),
      h("div", {}, h("h1", {}, verdict), h("p", { class: "subtitle" }, h("bdi", {}, subtitle)))),
  );
}

const SHOWN_NOTES = 6;

export function pageFooter(notes: string[], versions: Record<string, string>): HTMLElement {
  const said = notes.filter(Boolean);
  const [first, rest] = [said.slice(0, SHOWN_NOTES), said.slice(SHOWN_NOTES)];
  const line = (note: string): HTMLElement => h("p", {}, note);
  const made = Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(" · ");
  return h("footer", {}, ...first.map(line), rest.length > 0 && h("details", {}, h("summary", {}, `${rest.length} more notes`), ...rest.map(line)), made && h("p", { class: "versions" }, made));
}
