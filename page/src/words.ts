// A result that has no charts: what printing it says.

import { h, section } from "./dom";
import { pageHeader, type Tone } from "./header";

export interface Content {
  kind: "words";
  name: string;
  verdict: string;
  level: Tone;
  subtitle: string;
  text: string;
}

export function wordsPage(content: Content): HTMLElement[] {
  return [
    pageHeader(content.name, content.verdict, content.subtitle, content.level, [], content.name),
    ...(content.text ? [section("words", "In full", null, h("pre", { class: "words" }, content.text))] : []),
  ];
}
