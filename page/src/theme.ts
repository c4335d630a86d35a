// Light, dark or as the system has it. What draws on a canvas asks here for its colours and is told of changes.

import { choice } from "./dom";

export type Theme = "light" | "dark";
type Wanted = Theme | "system";

const KEY = "leaky-theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();
let wanted: Wanted = remembered();
let printing = false;

export function theme(): Theme {
  if (printing) return "light";
  return wanted === "system" ? (system.matches ? "dark" : "light") : wanted;
}

/** Call `draw` now and whenever the theme changes. */
export function drawn(draw: () => void): void {
  listeners.add(draw);
  draw();
}

export function themeSwitch(): HTMLElement {
  const options = [["system", "System"], ["light", "Light"], ["dark", "Dark"]] as const;
  return choice<Wanted>("Theme", options, wanted, (value) => {
    wanted = value;
    try {
      localStorage.setItem(KEY, value);
    } catch {
      // A sandboxed frame has no storage; the choice then lasts as long as the page.
    }
    apply();
  });
}

export function startTheme(): void {
  system.addEventListener("change", apply);
  for (const [event, state] of [["beforeprint", true], ["afterprint", false]] as const) {
    addEventListener(event, () => {
      printing = state;
      apply();
    });
  }
  apply();
}

function apply(): void {
  document.documentElement.dataset["theme"] = theme();
  for (const draw of listeners) draw();
}

function remembered(): Wanted {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    return "system";
  }
}
