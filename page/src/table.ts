// A table that sorts by the column that is chosen; it scrolls by itself where the window is narrow.

import { fill, h } from "./dom";

export interface Column<T> {
  name: string;
  cell: (row: T) => string | Node;
  /** What it sorts by; a column without is not sortable. */
  by?: (row: T) => number | string;
  text?: boolean;
}

export function sortable<T>(label: string, columns: Column<T>[], rows: readonly T[]): HTMLElement {
  const body = h("tbody");
  const heads = columns.map((column) => {
    const head = h("th", { scope: "col", class: column.text ? null : "numeric" });
    const by = column.by;
    if (!by) head.append(column.name);
    else head.append(h("button", { type: "button", class: "sort", onclick: () => sort(head, by, Boolean(column.text)) }, column.name));
    return head;
  });
  const show = (shown: readonly T[]): void =>
    fill(body, ...shown.map((row) => h("tr", {}, ...columns.map((column, place) => {
      const attributes = { class: column.text ? null : "numeric" };
      return place === 0 ? h("th", { ...attributes, scope: "row" }, column.cell(row)) : h("td", attributes, column.cell(row));
    }))));
  const sort = (head: HTMLElement, by: (row: T) => number | string, text: boolean): void => {
    const was = head.getAttribute("aria-sort");
    const ascending = was ? was === "descending" : text;
    for (const each of heads) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const sign = ascending ? 1 : -1;
    show([...rows].sort((a, b) => {
      const [x, y] = [by(a), by(b)];
      return sign * (typeof x === "string" ? x.localeCompare(String(y)) : x - Number(y));
    }));
  };
  show(rows);
  return h("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 },
    h("table", {}, h("thead", {}, h("tr", {}, ...heads)), body));
}
