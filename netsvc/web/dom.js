/** Builds DOM without HTML strings: text stays text, whoever wrote it. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} tag
 * @param {Record<string, any>} [attributes] `on…` are listeners, `class` and the rest attributes; null and false leave one out
 * @param {...(Node | string | null)} children strings become text nodes
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false) continue;
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** An icon of the sprite in index.html; decoration, so the control around it carries the name. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A person's avatar: the first letter on the colour of the name. */
export function avatar(name) {
  const letter = [...name.replace(/^guest-/, "")][0] ?? "?";
  return element("span", { class: `avatar hue-${hueOf(name)}`, "aria-hidden": "true" }, letter.toUpperCase());
}

/** One of ten colours, the same for the same name everywhere. */
export function hueOf(name) {
  let hash = 0x811c9dc5; // FNV-1a, 32 bits
  for (const char of name) hash = Math.imul(hash ^ char.codePointAt(0), 0x01000193) >>> 0;
  return (hash >>> 8) % 10;
}

/**
 * Make a list show exactly these nodes in this order, moving as few as possible.
 *
 * @param {Element} list
 * @param {Element[]} nodes
 */
export function arrange(list, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove();
  let place = list.firstElementChild;
  for (const node of nodes) {
    if (node === place) place = place.nextElementSibling;
    else list.insertBefore(node, place);
  }
}
