// Small helpers to build and change the page. Everything a server says enters the page as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Makes an HTML element. `on…` attributes are listeners, `null` and `false` are left out. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Makes an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** The element with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Changes the text only when it differs, so that assistive technology and selections are left in peace. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets an attribute, or removes it when the value is null. */
export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Puts `wanted` in this order under `parent`, moving only what is not yet in its place, and drops the rest. */
export function arrange(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
}

/** Keeps one view per key: makes it at first sight, forgets it when its key is gone. */
export class Keyed {
  #views = new Map();

  /** Returns the views of `items` in their order. */
  sync(items, keyOf, make) {
    const next = new Map();
    for (const item of items) {
      const key = keyOf(item);
      const view = this.#views.get(key) ?? make(item);
      next.set(key, view);
      view.update(item);
    }
    this.#views = next;
    return [...next.values()];
  }

  /** The views there are. */
  values() {
    return this.#views.values();
  }
}
