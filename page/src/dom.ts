// Elements, made without any HTML: whatever comes from the data is text.

type Child = Node | string | number | null | undefined | false;
type Attribute = string | number | boolean | null | undefined | ((event: Event) => void);

/** An element with attributes ("onclick" listens, true and false set or leave out) and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, Attribute> = {},
  ...children: (Child | Child[])[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.replace(/^on/, ""), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

export function append(element: Element, children: (Child | Child[])[]): void {
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) element.append(child instanceof Node ? child : String(child));
  }
}

/** Put new children in the place of the old ones. */
export function fill(element: Element, ...children: (Child | Child[])[]): void {
  element.replaceChildren();
  append(element, children);
}

let ids = 0;

export function uniqueId(prefix: string): string {
  ids += 1;
  return `${prefix}-${ids}`;
}

/** A part of the page with its heading, and words that say how to read it. */
export function section(id: string, title: string, lead: string | null, ...children: (Child | Child[])[]): HTMLElement {
  const heading = `${id}-heading`;
  return h(
    "section",
    { id, "aria-labelledby": heading },
    h("div", { class: "section-head" }, h("h2", { id: heading }, title), lead && h("p", { class: "lead" }, lead)),
    ...children,
  );
}

/** A choice of one among a few, as buttons. */
export function choice<T extends string>(
  label: string,
  options: readonly (readonly [T, string])[],
  chosen: T,
  choose: (value: T) => void,
): HTMLElement {
  const buttons = options.map(([value, words]) =>
    h(
      "button",
      {
        type: "button",
        "aria-pressed": String(value === chosen),
        onclick: () => {
          for (const [place, button] of buttons.entries()) {
            button.setAttribute("aria-pressed", String(options[place]![0] === value));
          }
          choose(value);
        },
      },
      words,
    ),
  );
  return h("div", { class: "choice", role: "group", "aria-label": label }, ...buttons);
}
