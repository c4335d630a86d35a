// One small box beside the pointer or the keyboard's cursor, and the same words for screen readers.

import { fill, h } from "./dom";

const box = h("div", { class: "tip", "aria-hidden": "true", hidden: true });
const spoken = h("div", { class: "visually-hidden", "aria-live": "polite" });

export function startTips(): void {
  document.body.append(box, spoken);
  addEventListener("scroll", hideTip, { passive: true });
}

/** Show words at a place of the window; `speak` tells them to a screen reader too. */
export function showTip(lines: string[], x: number, y: number, speak = false): void {
  const [first = "", ...rest] = lines;
  fill(box, h("strong", {}, first), ...rest.map((line) => h("div", {}, line)));
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  const left = Math.min(Math.max(8, x + 12), Math.max(8, document.documentElement.clientWidth - width - 8));
  const below = y + 18 + height < innerHeight;
  box.style.left = `${left}px`;
  box.style.top = `${below ? y + 18 : Math.max(4, y - height - 12)}px`;
  if (speak) spoken.textContent = lines.join(". ");
}

export function hideTip(): void {
  box.hidden = true;
}
