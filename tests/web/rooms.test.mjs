import assert from "node:assert/strict";
import { test } from "node:test";

import { parseCursor, RoomLog } from "../../netsvc/web/client/rooms.js";

const event = (seq, more = {}) => ({ room: "r", seq, cursor: `e:${seq}`, type: "message", from: "ann", at: "", text: `m${seq}`, ...more });
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => event(from + i));
const page = (from, to, more = false, recovered = true) => ({ events: range(from, to), cursor: `e:${to}`, more, recovered });
const seqs = (log) => log.events.map(({ seq }) => seq);

function joined(from, to, options) {
  const log = new RoomLog("r", options);
  log.join({ ...page(from, to, from > 1), present: { count: 2, names: ["zoe", "ann"] } }, null);
  return log;
}

test("a cursor is cut at its last colon", () => {
  assert.deepEqual(parseCursor("a:b:12"), { epoch: "a:b", seq: 12 });
});

test("before a join there is no cursor; after it, that of the answer", () => {
  const log = new RoomLog("r");
  assert.equal(log.cursor, null);
  log.join({ events: [], cursor: "e:0", more: false, recovered: true }, null);
  assert.deepEqual([log.cursor, log.joined, log.hasOlder, log.hasNewer], ["e:0", true, false, false]);
});

test("events are appended once each, in order", () => {
  const log = joined(1, 2);
  assert.ok(log.take(event(3)));
  assert.ok(!log.take(event(3)));
  assert.ok(!log.take(event(1)));
  assert.deepEqual(seqs(log), [1, 2, 3]);
  assert.equal(log.cursor, "e:3");
});

test("resuming appends what was missed and nothing twice", () => {
  const log = joined(1, 5);
  log.join({ ...page(4, 8) }, "e:5");
  assert.deepEqual(seqs(log), [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.deepEqual([log.replaced, log.gaps], [false, []]);
});

test("a position that retention has passed leaves a gap that can be filled as far as there is something", () => {
  const log = joined(1, 5);
  log.join(page(20, 22, true, false), "e:5");
  assert.deepEqual(log.gaps, [{ from: 6, to: 19, gone: false }]);
  assert.equal(log.cursorAfter(log.gaps[0]), "e:20");
  log.fill(log.gaps[0], page(15, 19, true));
  assert.deepEqual(log.gaps, [{ from: 6, to: 14, gone: false }]);
  log.fill(log.gaps[0], page(12, 14));
  assert.deepEqual(log.gaps, [{ from: 6, to: 11, gone: true }]);
  assert.deepEqual(seqs(log), [1, 2, 3, 4, 5, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22]);
});

test("a page that reaches beyond the gap fills it and no more", () => {
  const log = joined(4, 5);
  log.join(page(8, 9, true, false), "e:5");
  log.fill(log.gaps[0], page(1, 7));
  assert.deepEqual(seqs(log), [4, 5, 6, 7, 8, 9]);
  assert.ok(log.hasOlder);
});

test("a gap whose page comes back empty is gone", () => {
  const log = joined(1, 2);
  log.join(page(8, 9, true, false), "e:2");
  log.fill(log.gaps[0], { events: [], cursor: "e:9", more: true, recovered: true });
  assert.deepEqual(log.gaps, [{ from: 3, to: 7, gone: true }]);
});

test("another epoch, or a head before ours, is another log: the old one is not mixed with it", () => {
  for (const answer of [{ events: [event(2, { cursor: "f:2" })], cursor: "f:2" }, { events: [event(3)], cursor: "e:3" }]) {
    const log = joined(1, 5);
    log.join({ ...answer, more: true, recovered: false }, "e:5");
    assert.equal(log.replaced, true);
    assert.equal(log.cursor, answer.cursor);
    assert.deepEqual(seqs(log), answer.events.map(({ seq }) => seq));
    assert.ok(log.hasOlder);
  }
});

test("paging back puts older events before and learns where the log begins", () => {
  const log = joined(51, 60);
  assert.equal(log.oldestCursor, "e:51");
  log.addOlder(page(41, 50, true));
  assert.ok(log.hasOlder);
  log.addOlder(page(31, 40));
  assert.ok(!log.hasOlder);
  assert.deepEqual([seqs(log)[0], log.events.length], [31, 30]);
  log.addOlder({ events: [], cursor: "e:60", more: true, recovered: true });
  assert.ok(!log.hasOlder);
});

test("the window is bounded: paging back lets the newest go, and paging forth brings them again", () => {
  const log = joined(41, 60, { capacity: 30 });
  log.addOlder(page(21, 40, true));
  assert.deepEqual([seqs(log)[0], seqs(log).at(-1), log.hasNewer], [21, 50, true]);
  assert.equal(log.cursor, "e:60", "resuming goes on from the head, not from the window");
  log.take(event(61));
  assert.deepEqual([seqs(log).at(-1), log.head], [50, 61]);
  assert.equal(log.newestCursor, "e:50");
  log.addNewer(page(51, 61));
  assert.deepEqual([seqs(log)[0], seqs(log).at(-1), log.hasNewer, log.hasOlder], [32, 61, false, true]);
  log.take(event(62));
  assert.deepEqual([seqs(log).at(-1), log.events.length], [62, 30]);
});

test("who reads further up keeps what is there: beyond the bound new events stay out until asked for", () => {
  const log = joined(1, 9, { capacity: 10 });
  log.following = false;
  for (const seq of [10, 11, 12]) assert.ok(log.take(event(seq)));
  assert.deepEqual([seqs(log)[0], seqs(log).at(-1), log.hasNewer], [1, 10, true]);
  log.showLatest(page(8, 12, true));
  assert.deepEqual([seqs(log), log.hasNewer, log.hasOlder], [[8, 9, 10, 11, 12], false, true]);
});

test("what the server skipped is loaded from the end of the window on", () => {
  const log = joined(1, 3);
  log.skip({ from: 4, to: 9 });
  assert.ok(log.hasNewer);
  log.take(event(10));
  assert.deepEqual(seqs(log), [1, 2, 3]);
  log.addNewer(page(4, 10));
  assert.deepEqual([seqs(log).length, log.gaps, log.hasNewer], [10, [], false]);
  log.skip({ from: "e:11", to: "e:12" });
  assert.equal(log.head, 12);
});

test("skipped events that retention took are a gap; a head that was never there is taken back", () => {
  const log = joined(1, 3);
  log.skip({ from: 4, to: 9 });
  log.addNewer(page(8, 9, true, false));
  assert.deepEqual(log.gaps, [{ from: 4, to: 7, gone: false }]);
  log.skip({ from: 10, to: 20 });
  log.addNewer({ events: [], cursor: "e:9", more: false, recovered: true });
  assert.deepEqual([log.hasNewer, log.cursor], [false, "e:9"]);
});

test("while the window is away from the end, resuming moves only the head", () => {
  const log = joined(11, 20, { capacity: 10 });
  log.addOlder(page(1, 10));
  log.join(page(21, 25), "e:20");
  assert.deepEqual([seqs(log).at(-1), log.cursor, log.hasNewer], [10, "e:25", true]);
});

test("a page of a log that was replaced meanwhile is thrown away", () => {
  const log = joined(5, 6);
  log.join({ events: [], cursor: "f:0", more: false, recovered: false }, "e:6");
  for (const take of [(p) => log.addOlder(p), (p) => log.addNewer(p), (p) => log.showLatest(p), (p) => log.fill({ from: 1, to: 2 }, p)]) {
    take(page(1, 4));
    assert.deepEqual(seqs(log), []);
  }
});

test("edits and deletions change the message they are about, and never bring back an older text", () => {
  const log = joined(1, 3);
  log.take(event(4, { type: "edit", target: 2, text: "new" }));
  log.take(event(5, { type: "delete", target: 3, at: "then" }));
  log.take(event(6, { type: "edit", target: 99, text: "of nothing here" }));
  assert.deepEqual([log.events[1].text, log.events[2].text, log.events[2].deleted], ["new", "", true]);
  const late = new RoomLog("r", { capacity: 10 });
  late.join({ events: [event(2, { text: "newest" })], cursor: "e:20", more: true, recovered: true }, null);
  late.addNewer({ events: [event(4, { type: "edit", target: 2, text: "newer" })], cursor: "e:4", more: true, recovered: true });
  assert.equal(late.events[0].text, "newest");
});

test("who is here follows joins and leaves, whether one or several are named", () => {
  const log = joined(1, 1);
  assert.deepEqual(log.present, { count: 2, names: ["ann", "zoe"] });
  log.moved({ joined: ["bob"], left: ["zoe"], count: 2 });
  log.moved({ joined: "eve", count: 3 });
  assert.deepEqual(log.present, { count: 3, names: ["ann", "bob", "eve"] });
});
