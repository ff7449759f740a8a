/** What a message says, as nodes: built one by one from its tree, so that nothing in it is ever read as HTML. */

import { element, icon } from "./dom.js";
import { isEmojiOnly, parse, plainText, safeHref } from "./markdown.js";

const TAGS = { strong: "strong", em: "em", strike: "s" };
/** Characters that change the direction of what follows: in code all of them are made visible, elsewhere those that override it. */
const TURNS = /([\u202d\u202e])/;
const TURNS_IN_CODE = /([\u200e\u200f\u202a-\u202e\u2066-\u2069])/;
/** Milliseconds for which a copied block says "Copied". */
const COPIED = 1500;

/**
 * @param {string} text
 * @param {{me: string, room?: boolean}} named whose mentions are highlighted; room: so are those of everybody, which are plain text otherwise
 * @returns {HTMLElement}
 */
export function content(text, named) {
  const tree = parse(text);
  const size = text.length < 200 && isEmojiOnly(plainText(tree).trim()) ? " jumbo" : "";
  return element("div", { class: `text${size}` }, ...tree.map((block) => blockNode(block, named)));
}

/** An address in a line of text, without the punctuation after it. */
const ADDRESS = /(\bhttps?:\/\/[^\s<>"]*[^\s<>".,;:!?()[\]'])/i;

/** A line of text as it is, except that its addresses are links. */
export function linked(text) {
  return text.split(ADDRESS).flatMap((part, i) => {
    const href = i % 2 === 0 ? "" : safeHref(part);
    return href === "" ? shown(part, TURNS) : link({ href, host: "", children: [{ type: "text", text: part }] });
  });
}

/**
 * A list or a quote has one direction, for its marks too: that of its first words, which `dir=auto` does not find in elements with a
 * `dir` of their own. The style sheet lets each line inside run in its own.
 */
function blockNode(block, named, dir = "auto") {
  const inner = (child) => blockNode(child, named, null);
  switch (block.type) {
    case "code-block":
      return codeBlock(block);
    case "quote":
      return element("blockquote", { dir }, ...block.children.map(inner));
    case "list": {
      const items = block.items.map((item) => element("li", {}, ...item.map(inner)));
      return block.ordered ? element("ol", { dir, start: String(block.start) }, ...items) : element("ul", { dir }, ...items);
    }
    default:
      return element("p", { dir }, ...inlineNodes(block.children, named));
  }
}

function inlineNodes(nodes, named) {
  return nodes.flatMap((node) => inlineNode(node, named));
}

function inlineNode(node, named) {
  switch (node.type) {
    case "text":
      return shown(node.text, TURNS);
    case "code":
      return element("code", { dir: "ltr" }, ...shown(node.text, TURNS_IN_CODE));
    case "mention":
      if (node.name === "room" && !named.room) return shown("@room", TURNS);
      return element("bdi", { class: `mention${isMe(node.name, named) ? " me" : ""}` }, `@${node.name}`);
    case "link":
      return link(node, named);
    default:
      return element(TAGS[node.type], {}, ...inlineNodes(node.children, named));
  }
}

function isMe(name, { me, room = false }) {
  return room && name === "room" ? true : name.toLowerCase() === me.toLowerCase();
}

function link({ href, host, children }, named) {
  const where = host === "" ? null : element("span", { class: "host" }, ` (${host})`);
  const anchor = { href, target: "_blank", rel: "noopener noreferrer nofollow", title: href };
  return element("bdi", { class: "link" }, element("a", anchor, ...inlineNodes(children, named)), where);
}

function codeBlock({ language, text }) {
  const code = element("code", {}, ...shown(text, TURNS_IN_CODE));
  const label = element("span", { class: "language" }, language || "text");
  const words = element("span", { role: "status" }, "Copy");
  const copy = element("button", { type: "button", class: "copy", "data-focus": "copy", onclick: () => copyText(text, words) }, icon("copy"), words);
  const name = language ? `Code, ${language}` : "Code";
  return element("figure", { class: "code-block" }, element("figcaption", {}, label, copy), element("pre", { dir: "ltr", tabindex: "0", role: "region", "aria-label": name }, code));
}

/** A line of text that stays as it is. */
export function plain(text) {
  return shown(text, TURNS);
}

/** Text in which characters that would change its direction are made visible instead. */
function shown(text, turns) {
  if (!turns.test(text)) return [text];
  return text.split(turns).map((part, i) => {
    const name = `U+${part.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0")}`;
    return i % 2 === 0 ? part : element("span", { class: "control", title: "a character that changes the direction of text" }, name);
  });
}

async function copyText(text, words) {
  const done = await copyToClipboard(text);
  words.textContent = done ? "Copied" : "Could not copy";
  setTimeout(() => {
    words.textContent = "Copy";
  }, COPIED);
}

/** True if it worked. Plain http on a LAN has no navigator.clipboard. */
export async function copyToClipboard(text) {
  try {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(text);
      return true;
    }
  } catch {
    // not allowed; the old way may be
  }
  const { activeElement } = document;
  const field = element("textarea", { class: "sr", "aria-hidden": "true" });
  field.value = text;
  (activeElement?.closest("dialog") ?? document.body).append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  activeElement?.focus({ preventScroll: true });
  return done;
}
