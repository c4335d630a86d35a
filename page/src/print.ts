// On paper nothing can be unfolded: what is folded opens while the page is printed.

export function startPrinting(): void {
  let opened: HTMLDetailsElement[] = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details")].filter((each) => !each.open);
    for (const each of opened) {
      each.open = true;
      each.dispatchEvent(new Event("toggle")); // the browser's own comes too late: what fills itself then would stay empty
    }
  });
  addEventListener("afterprint", () => {
    for (const each of opened) each.open = false;
    opened = [];
  });
}
