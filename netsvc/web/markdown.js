/**
 * Messages as people write them: a small part of Markdown, read into a tree.
 *
 * No DOM and no HTML: what is not markup stays text, so there is nothing to sanitise afterwards. Reading takes time in proportion to
 * the text, and the tree is bounded in depth and size whatever the text is.
 */

import { emojiOf } from "./emoji.js";

/**
 * @typedef {{type: "text", text: string} | {type: "code", text: string} | {type: "mention", name: string}
 *   | {type: "strong" | "em" | "strike", children: Inline[]}
 *   | {type: "link", href: string, host: string, children: Inline[]}} Inline host: where it leads, if its text pretends otherwise
 * @typedef {{type: "paragraph", children: Inline[]} | {type: "code-block", language: string, text: string}
 *   | {type: "quote", children: Block[]}
 *   | {type: "list", ordered: boolean, start: number, items: Block[][]}} Block
 */

/** Quotes and lists inside one another. */
const MOST_BLOCKS_DEEP = 4;
/** Bold in italics in a link in … */
const MOST_MARKS_DEEP = 6;
/** Nodes of one message; the rest is plain text. */
const MOST_NODES = 1500;
const LONGEST_LINK = 2048;

const FENCE = /^ {0,3}(`{3,}|~{3,}) *([\w+#.-]{0,32}) *$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})(?:([-*])|(\d{1,3})[.)]) +(?=\S)/;

/**
 * @param {string} text of a message
 * @returns {Block[]}
 */
export function parse(text) {
  return blocks(text.replace(/\r\n?/g, "\n").split("\n"), 0, { left: MOST_NODES });
}

function blocks(lines, depth, budget) {
  const found = [];
  let paragraph = [];
  const endParagraph = () => {
    if (paragraph.length > 0) found.push({ type: "paragraph", children: inline(paragraph.join("\n"), budget) });
    paragraph = [];
  };
  for (let i = 0; i < lines.length; ) {
    const taken = blockAt(lines, i, depth, budget, paragraph.length > 0);
    if (taken !== null) endParagraph();
    if (taken === null) paragraph.push(lines[i]);
    else if (taken.block !== null) found.push(taken.block);
    i = taken === null ? i + 1 : taken.end;
  }
  endParagraph();
  return found;
}

/** The block that begins at a line and the line after it; null for a line of a paragraph. */
function blockAt(lines, at, depth, budget, inParagraph) {
  const line = lines[at];
  if (line.trim() === "") return { block: null, end: at + 1 };
  const fence = FENCE.exec(line);
  if (fence) return codeBlock(lines, at, fence);
  if (depth >= MOST_BLOCKS_DEEP || budget.left <= 0) return null;
  if (QUOTE.test(line)) return quote(lines, at, depth, budget);
  const item = ITEM.exec(line);
  // In the middle of a paragraph, a line that happens to begin with a number is not a list, unless the number is 1.
  if (item && (!inParagraph || item[2] !== undefined || item[3] === "1")) return list(lines, at, depth, budget);
  return null;
}

function codeBlock(lines, at, [, fence, language]) {
  const close = new RegExp(`^ {0,3}${fence[0]}{${fence.length},} *$`);
  let end = at + 1;
  while (end < lines.length && !close.test(lines[end])) end += 1;
  return { block: { type: "code-block", language, text: lines.slice(at + 1, end).join("\n") }, end: end + 1 };
}

function quote(lines, at, depth, budget) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  budget.left -= 1;
  const inner = lines.slice(at, end).map((line) => line.replace(QUOTE, ""));
  return { block: { type: "quote", children: blocks(inner, depth + 1, budget) }, end };
}

function list(lines, at, depth, budget) {
  const first = ITEM.exec(lines[at]);
  const ordered = first[2] === undefined;
  const items = [];
  let end = at;
  while (end < lines.length && budget.left > 0) {
    const item = ITEM.exec(lines[end]);
    if (!item || (item[2] === undefined) !== ordered) break;
    const inner = [lines[end].slice(item[0].length)];
    // Indented lines below an item belong to it.
    for (end += 1; end < lines.length && /^(?: {2}|\t)\s*\S/.test(lines[end]) && indent(lines[end]) > item[1].length; end += 1) {
      inner.push(lines[end].replace(new RegExp(`^(?:\t| {1,${item[0].length}})`), ""));
    }
    budget.left -= 1;
    items.push(blocks(inner, depth + 1, budget));
  }
  return { block: { type: "list", ordered, start: ordered ? Number(first[3]) : 1, items }, end };
}

function indent(line) {
  return line.startsWith("\t") ? 8 : line.search(/\S/);
}

const SPECIAL = /[\\`*_~[\]@:]|\bhttps?:\/\/|\bmailto:/gi;
const WORD = /[\p{L}\p{M}\p{Nd}]/u;
const LINK = /(?:https?:\/\/|mailto:)[^\s<>"`\u0000-\u001f\u200b\u202a-\u202e\u2066-\u2069]+/iy;
const TARGET = /\(<?([^\s()<>]*(?:\([^\s()<>]*\)[^\s()<>]*)*)>?\)/y;
const MENTION = /@([\p{L}\p{Nd}](?:[\p{L}\p{M}\p{Nd}._-]{0,30}[\p{L}\p{M}\p{Nd}])?)/uy;
const SHORTCODE = /:([a-z0-9_+-]{1,32}):/y;
const MARKS = { "**": "strong", "*": "em", _: "em", "~~": "strike" };

/** @returns {Inline[]} */
export function inline(text, budget = { left: MOST_NODES }) {
  return new Line(text, budget).read();
}

/** One paragraph on its way from text to tree: a stack of open marks, with the text collected so far on top. */
class Line {
  #text;
  #budget;
  #stack = [{ mark: "", children: [] }];
  /** The place up to which text has been taken. */
  #done = 0;
  /** Lengths of runs of backticks that are known not to come again. */
  #unclosedCode = new Set();
  /** For each mark its last place in the text: none is opened after that. */
  #last = new Map();

  constructor(text, budget) {
    this.#text = text;
    this.#budget = budget;
    for (const mark of [...Object.keys(MARKS), "]("]) this.#last.set(mark, text.lastIndexOf(mark));
  }

  read() {
    SPECIAL.lastIndex = 0;
    for (;;) {
      const found = this.#budget.left > 0 ? SPECIAL.exec(this.#text) : null;
      if (found === null) break;
      const end = this.#special(found.index, found[0]);
      SPECIAL.lastIndex = end;
    }
    this.#plain(this.#text.length);
    while (this.#stack.length > 1) this.#giveUp();
    return this.#stack[0].children;
  }

  /** Read what begins here; returns where to continue. */
  #special(at, char) {
    switch (char) {
      case "\\":
        return this.#escape(at);
      case "`":
        return this.#code(at);
      case "[":
        return this.#openLink(at);
      case "]":
        return this.#closeLink(at);
      case "@":
        return this.#mention(at);
      case ":":
        return this.#shortcode(at);
      case "*":
      case "_":
      case "~":
        return this.#mark(at, char);
      default:
        return this.#autolink(at, char);
    }
  }

  #escape(at) {
    if (!/[\\`*_~[\]@:>#-]/.test(this.#text[at + 1] ?? "")) return at + 1;
    this.#plain(at);
    this.#done = at + 1;
    return at + 2;
  }

  #code(at) {
    const length = runLength(this.#text, at);
    const close = this.#unclosedCode.has(length) ? -1 : closingTicks(this.#text, at + length, length);
    if (close < 0) {
      this.#unclosedCode.add(length);
      return at + length;
    }
    const inner = this.#text.slice(at + length, close);
    // One space on each side is there to hold backticks apart (CommonMark section 6.1).
    const text = /^ .*[^ ].* $/s.test(inner) ? inner.slice(1, -1) : inner;
    return this.#put(at, { type: "code", text }, close + length);
  }

  #mark(at, char) {
    const length = runLength(this.#text, at);
    const end = at + length;
    const before = this.#text[at - 1] ?? " ";
    const after = this.#text[end] ?? " ";
    let mark = length >= 2 && char !== "_" ? char + char : char;
    if (length > 3 || (char === "_" && length > 1) || (char === "~" && length !== 2)) return end;
    const top = this.#stack.at(-1).mark;
    if (length === 3 && top === char) mark = char; // the inner one of ***both*** ends first
    const whole = mark.length === 1;
    const closes = !/\s/.test(before) && !(whole && length === 1 && WORD.test(after));
    if (closes && this.#stack.some((open) => open.mark === mark)) return this.#close(at, mark);
    const opens = !/\s/.test(after) && !(whole && WORD.test(before)) && this.#last.get(mark) > at + mark.length;
    if (!opens || this.#stack.length > MOST_MARKS_DEEP || this.#stack.some((open) => open.mark === mark)) return at + mark.length;
    this.#plain(at);
    this.#stack.push({ mark, children: [] });
    this.#done = at + mark.length;
    return this.#done;
  }

  #close(at, mark) {
    this.#plain(at);
    while (this.#stack.at(-1).mark !== mark) this.#giveUp();
    const { children } = this.#stack.pop();
    return this.#put(at, { type: MARKS[mark], children }, at + mark.length);
  }

  #openLink(at) {
    if (this.#last.get("](") < at || this.#stack.length > MOST_MARKS_DEEP || this.#stack.some(({ mark }) => mark === "[")) return at + 1;
    this.#plain(at);
    this.#stack.push({ mark: "[", children: [] });
    this.#done = at + 1;
    return at + 1;
  }

  #closeLink(at) {
    if (!this.#stack.some(({ mark }) => mark === "[")) return at + 1;
    TARGET.lastIndex = at + 1;
    // The regular expression sees only a part of the text, so that many brackets do not make it read the rest again and again.
    const target = this.#text[at + 1] === "(" ? matchWithin(TARGET, this.#text, at + 1) : null;
    const href = target ? safeHref(target[1]) : "";
    this.#plain(at);
    while (this.#stack.at(-1).mark !== "[") this.#giveUp();
    if (href === "") {
      this.#giveUp();
      return at + 1;
    }
    const { children } = this.#stack.pop();
    return this.#put(at, { type: "link", href, host: pretended(children, href), children }, at + 1 + target[0].length);
  }

  #autolink(at, scheme) {
    if (this.#stack.some(({ mark }) => mark === "[")) return at + scheme.length;
    const match = matchWithin(LINK, this.#text, at);
    const text = match ? trimLink(match[0]) : "";
    const href = safeHref(text);
    if (href === "") return at + scheme.length;
    return this.#put(at, { type: "link", href, host: "", children: [{ type: "text", text }] }, at + text.length);
  }

  #mention(at) {
    if (WORD.test(this.#text[at - 1] ?? " ")) return at + 1;
    const match = matchWithin(MENTION, this.#text, at);
    return match ? this.#put(at, { type: "mention", name: match[1] }, at + match[0].length) : at + 1;
  }

  #shortcode(at) {
    const match = matchWithin(SHORTCODE, this.#text, at);
    const emoji = match ? emojiOf(match[1]) : "";
    return emoji === "" ? at + 1 : this.#put(at, { type: "text", text: emoji }, at + match[0].length);
  }

  /** A mark that is never closed is text. */
  #giveUp() {
    const { mark, children } = this.#stack.pop();
    this.#append({ type: "text", text: mark });
    for (const child of children) this.#append(child);
  }

  /** Take the text up to here as it is. */
  #plain(end) {
    if (end > this.#done) this.#append({ type: "text", text: this.#text.slice(this.#done, end) });
    this.#done = Math.max(this.#done, end);
  }

  #put(at, node, end) {
    this.#plain(at);
    this.#append(node);
    this.#done = end;
    return end;
  }

  #append(node) {
    const { children } = this.#stack.at(-1);
    const last = children.at(-1);
    if (node.type === "text" && last?.type === "text") last.text += node.text;
    else children.push(node);
    this.#budget.left -= 1;
  }
}

/** How often the character at a place is repeated there. */
function runLength(text, at) {
  let end = at + 1;
  while (text[end] === text[at]) end += 1;
  return end - at;
}

/** Where the next run of exactly so many backticks begins, or -1. */
function closingTicks(text, from, length) {
  for (let at = text.indexOf("`", from); at >= 0; ) {
    const found = runLength(text, at);
    if (found === length) return at;
    at = text.indexOf("`", at + found);
  }
  return -1;
}

/** Match a sticky expression at a place, on no more text than a link may have. */
function matchWithin(expression, text, at) {
  expression.lastIndex = 0;
  return expression.exec(text.slice(at, at + LONGEST_LINK));
}

/**
 * An address that a click may lead to, in the browser's own spelling: http, https and mailto, nothing else.
 *
 * @returns {string} "" for any other
 */
export function safeHref(text) {
  if (!/^(?:https?:\/\/|mailto:)\S/i.test(text) || !URL.canParse(text)) return "";
  const { protocol, href, username, password } = new URL(text);
  if (username !== "" || password !== "") return ""; // http://bank.example@evil.example/
  return ["http:", "https:", "mailto:"].includes(protocol) ? href : "";
}

/** Labels and names of at most the legal length (RFC 1035 section 2.3.4), so that a long text is not read again and again. */
const HOST = /(?:[a-z0-9-]{1,63}\.){1,127}[a-z]{2,63}/i;

/** The host of a link whose text looks like the address of another one. */
function pretended(children, href) {
  const text = plainText(children);
  const shown = HOST.exec(text.replace(/[\u200b-\u200f\u202a-\u202e\u2066-\u2069]/g, ""));
  const { host } = new URL(href);
  if (host === "" || shown === null) return "";
  return shown[0].toLowerCase() === host.toLowerCase().replace(/:\d+$/, "") ? "" : host;
}

/** The plain text of a tree. */
export function plainText(nodes) {
  return nodes.map((node) => textOf(node)).join("");
}

function textOf(node) {
  if (node.type === "mention") return `@${node.name}`;
  if (node.type === "list") return node.items.map((item) => plainText(item)).join(" ");
  const inner = node.text ?? plainText(node.children);
  return node.type === "paragraph" || node.type === "quote" || node.type === "code-block" ? `${inner} ` : inner;
}

/** A message in one line without its markup, for small spaces. */
export function summary(text, longest = 140) {
  const line = plainText(parse(text.slice(0, 4 * longest))).replace(/\s+/g, " ").trim();
  return line.length > longest ? `${line.slice(0, longest - 1).trimEnd()}…` : line;
}

/** True for a message of a few emoji and nothing else: it is shown bigger. */
export function isEmojiOnly(text) {
  return text.length <= 40 && /^(?:(?:\p{Extended_Pictographic}|\p{Emoji_Modifier}|\p{Regional_Indicator}|[\u200d\ufe0f])\s*){1,24}$/u.test(text);
}

/** Where a link in running text really ends: before closing punctuation, but including brackets that it opened itself. */
function trimLink(link) {
  const surplus = { ")": count(link, ")") - count(link, "("), "]": count(link, "]") - count(link, "[") };
  let end = link.length;
  for (;;) {
    const last = link[end - 1];
    if (surplus[last] > 0) surplus[last] -= 1;
    else if (!/[.,:;!?'*_~]/.test(last)) return link.slice(0, end);
    end -= 1;
  }
}

function count(text, char) {
  return text.split(char).length - 1;
}
