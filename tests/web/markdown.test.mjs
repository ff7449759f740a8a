import assert from "node:assert/strict";
import { test } from "node:test";

import { emojiOf, findEmoji, nameOf } from "../../netsvc/web/emoji.js";
import { inline, isEmojiOnly, parse, plainText, safeHref, summary } from "../../netsvc/web/markdown.js";

/** A tree in one line: strong(em(x)), link<href>(x), … */
function sketch(nodes) {
  return nodes.map((node) => {
    const inner = node.text ?? (node.type === "list" ? node.items.map(sketch).join("|") : node.type === "mention" ? node.name : sketch(node.children));
    if (node.type === "text") return inner;
    const more = node.type === "link" ? `<${node.href}>` : node.type === "code-block" ? `<${node.language}>` : node.ordered ? `<${node.start}>` : "";
    return `${node.type}${more}(${inner})`;
  }).join("");
}

const line = (text) => sketch(inline(text));
const whole = (text) => sketch(parse(text));
const links = (text) => [...line(text).matchAll(/link<([^>]*)>/g)].map((match) => match[1]);

test("bold, italics, strike and code, in one another", () => {
  assert.equal(line("**b** *i* _i_ ~~s~~ `c`"), "strong(b) em(i) em(i) strike(s) code(c)");
  assert.equal(line("***both***"), "strong(em(both))");
  assert.equal(line("**bold *it* `**` more**"), "strong(bold em(it) code(**) more)");
  assert.equal(line("``a`b`` ` `` `"), "code(a`b) code(``)");
});

test("what is no markup stays as it was written", () => {
  for (const text of ["2 * 3 * 4", "a*b*c", "__init__.py", "snake_case_name", "*open", "** a **", "~x~", "`open", "a ` b", "C:\\dir\\x", "x   y\nz", "****", "[a]", "[a](b", ":-)", "10:30:20", "a@b.c"]) {
    assert.equal(line(text), text);
  }
  assert.equal(line("\\*no\\* \\`x\\`"), "*no* `x`");
  assert.equal(line("*a _b* c_"), "em(a _b) c_");
});

test("code blocks with a language, closed or not; quotes; lists, nested ones too", () => {
  assert.equal(whole("```js\nlet **x**;\n```\nafter"), "code-block<js>(let **x**;)paragraph(after)");
  assert.equal(whole("~~~\n```\n~~~"), "code-block<>(```)");
  assert.equal(whole("```\nopen\n"), "code-block<>(open\n)");
  assert.equal(whole("> q\n> > r\nafter"), "quote(paragraph(q)quote(paragraph(r)))paragraph(after)");
  assert.equal(whole("intro:\n- a\n  - b\n- c\n\n3. x\n4. y"), "paragraph(intro:)list(paragraph(a)list(paragraph(b))|paragraph(c))list<3>(paragraph(x)|paragraph(y))");
  assert.equal(whole("in\n1999. was a year\n42. is no item"), "paragraph(in\n1999. was a year\n42. is no item)");
  assert.equal(whole("a\n\nb"), "paragraph(a)paragraph(b)");
});

test("only http, https and mailto become links, without the punctuation around them", () => {
  assert.deepEqual(links("see http://a.example/x, or (https://b.example/y_(z)) or https://c.example/q?x=1&y=2#f."), [
    "http://a.example/x",
    "https://b.example/y_(z)",
    "https://c.example/q?x=1&y=2#f",
  ]);
  assert.deepEqual(links("'https://e.example' **https://f.example** [t](https://g.example/a_(b)) [m](mailto:a@b.c)"), [
    "https://e.example/",
    "https://f.example/",
    "https://g.example/a_(b)",
    "mailto:a@b.c",
  ]);
  const traps = ["javascript:alert(1)", "data:text/html,x", "vbscript:x", "xhttp://a.example", "http://", "https://[", "//a.example", "ftp://a.example", "https://bank.example@evil.example/", "java\tscript:alert(1)", " javascript:x", "JaVaScRiPt:x", "&#106;avascript:x"];
  for (const trap of traps) {
    assert.deepEqual(links(trap), [], trap);
    assert.deepEqual(links(`[x](${trap})`), [], trap);
    assert.equal(safeHref(trap), "", trap);
  }
  assert.deepEqual(links('http://a.example/"onclick=x <http://b.example>'), ["http://a.example/", "http://b.example/"]);
  assert.equal(line("[a [b](https://c.d) e](https://f.g)"), "link<https://c.d/>(a [b) e](link<https://f.g/>(https://f.g))");
});

test("a link whose text is another address says where it leads", () => {
  const [link] = inline("[https://bank.example/login](https://evil.example/x)");
  assert.equal(link.host, "evil.example");
  const [hidden] = inline("[\u202ebank\u202c.example](https://evil.example)");
  assert.equal(hidden.host, "evil.example");
  const [long] = inline(`[${"a.".repeat(200)}${"b".repeat(90)}.bank.example](https://evil.example)`);
  assert.equal(long.host, "evil.example");
  for (const honest of ["[https://a.example/x](https://a.example/)", "[the wiki](https://a.example)", "https://a.example/b.html"]) assert.equal(inline(honest)[0].host, "", honest);
});

test("names after @ and emoji between colons", () => {
  assert.equal(line("hi @ann, (@zoë.b) a@b.c @"), "hi mention(ann), (mention(zoë.b)) a@b.c @");
  assert.equal(line(":tada: :nothing: `:tada:` :+1:"), "🎉 :nothing: code(:tada:) 👍");
  assert.ok(isEmojiOnly("🎉 👍🏽") && isEmojiOnly("🧑‍💻") && isEmojiOnly("🇫🇷") && !isEmojiOnly("12") && !isEmojiOnly("ok 🎉") && !isEmojiOnly("🎉".repeat(30)));
  assert.deepEqual([emojiOf("rocket"), emojiOf("__proto__"), nameOf("👍"), nameOf("🚀"), nameOf("?")], ["🚀", "", "thumbs up", "rocket", "?"]);
  assert.deepEqual(findEmoji(":rock").flatMap(({ entries }) => entries.map(({ emoji }) => emoji)), ["🚀"]);
});

test("no text makes a tree that is deep, big or slow", () => {
  const bombs = ["*", "_", "[", "](", "**a", "~~a", "> ", "- ", "- a\n  ", "`", "http://[", "a`b``", "[a](", "_a*b~~", "@", ":", "*a*", "![", "\\", "[a](https://x(", "<", "(((("];
  for (const bomb of [...bombs, "> - 1. ", "```\n", "*_~~[`"]) {
    const text = bomb.repeat(Math.ceil(16384 / bomb.length));
    const begun = performance.now();
    const tree = parse(text);
    assert.ok(performance.now() - begun < 1000, bomb);
    const { depth, nodes } = measured(tree);
    assert.ok(depth <= 16 && nodes < 10_000, `${bomb}: ${depth} deep, ${nodes} nodes`);
  }
});

/** How many characters are copied while `act` runs. */
function copied(act) {
  const { slice } = String.prototype;
  let count = 0;
  String.prototype.slice = function (...place) {
    const part = slice.apply(this, place);
    count += part.length;
    return part;
  };
  try {
    act();
  } finally {
    String.prototype.slice = slice;
  }
  return count;
}

test("where a link ends is found in one go, however many brackets are at its end", () => {
  const bomb = (opened) => "http://[".repeat(opened) + ")".repeat(1000);
  const [few, many] = [30, 60].map((opened) => copied(() => parse(bomb(opened))));
  assert.ok(few < 30 * 2 * 2048 && many < 60 * 2 * 2048, `${few} ${many}`);
});

function measured(nodes) {
  let depth = 0;
  let count = 0;
  for (const node of nodes) {
    const inner = measured(node.children ?? node.items?.flat() ?? []);
    depth = Math.max(depth, inner.depth + 1);
    count += inner.nodes + 1;
  }
  return { depth, nodes: count };
}

test("random markup loses no letters", () => {
  const pieces = ["a", "b ", "*", "**", "_", "~~", "`", "[", "](", ")", "\n", "> ", "- ", "1. ", "\\", "@", ":", "```\n", "https://x.example"];
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  for (let round = 0; round < 2000; round += 1) {
    const text = Array.from({ length: 1 + Math.floor(random() * 30) }, () => pieces[Math.floor(random() * pieces.length)]).join("");
    const letters = (value) => value.replace(/[^ab]/g, "");
    const kept = letters(plainText(parse(text)));
    // Only the address of a link, and the language of a block, are not words of it.
    if (!/\]\(|```|~~~/.test(text)) assert.equal(kept, letters(text), JSON.stringify(text));
  }
});

test("a summary is one line without markup", () => {
  assert.equal(summary("**hi** `x`\n> q\n```\ncode\n```"), "hi x q code");
  assert.equal(summary("word ".repeat(100), 20), "word word word word…");
});
