import assert from "node:assert/strict";
import { test } from "node:test";

import { mentions, ReadMarks } from "../../netsvc/web/client/read-marks.js";
import { Reactions } from "../../netsvc/web/client/reactions.js";
import { RoomLog } from "../../netsvc/web/client/rooms.js";
import { ConnectionLost, RpcError } from "../../netsvc/web/client/rpc.js";
import { Typists } from "../../netsvc/web/client/typists.js";
import { FakeStorage, FakeTimers } from "./fakes.mjs";

const said = (seq, from, text = "", more = {}) => ({ seq, cursor: `e:${seq}`, type: "message", from, at: "2026-01-01T00:00:00Z", text, ...more });

test("the newest word of each person on each emoji counts, in whatever order it comes", () => {
  const events = [
    { seq: 5, from: "ann", target: 1, emoji: "👍", on: true },
    { seq: 6, from: "bob", target: 1, emoji: "👍", on: true },
    { seq: 7, from: "ann", target: 1, emoji: "👍", on: false },
    { seq: 8, from: "ann", target: 1, emoji: "🎉", on: true },
    { seq: 9, from: "ann", target: 2, emoji: "🎉" },
  ];
  for (const order of [events, [...events].reverse()]) {
    const reactions = new Reactions();
    for (const event of order) reactions.take(event);
    reactions.take(events[0]);
    assert.deepEqual(reactions.of(1).map(({ emoji, names }) => `${emoji}${names}`).sort(), ["🎉ann", "👍bob"].sort());
    assert.deepEqual(reactions.of(2), [{ emoji: "🎉", names: ["ann"] }]);
    assert.deepEqual(reactions.of(3), []);
  }
});

test("what is no reaction is none, and a log that is replaced takes its reactions along", () => {
  const reactions = new Reactions();
  for (const broken of [{ seq: 1, from: "a", target: "x", emoji: "👍" }, { seq: 2, from: "a", target: 1, emoji: "" }, { seq: 3, from: "a", target: 1 }]) reactions.take(broken);
  assert.deepEqual([reactions.of(1), reactions.revision(1)], [[], 0]);
  reactions.take({ seq: 4, from: "a", target: 1, emoji: "__proto__", on: true });
  assert.deepEqual(reactions.of(1), [{ emoji: "__proto__", names: ["a"] }]);
  reactions.clear();
  assert.deepEqual(reactions.of(1), []);
});

test("a room applies reactions, edits and deletions to messages that come before or after them", () => {
  const log = new RoomLog("r");
  log.join({ events: [{ ...said(3, "bob"), type: "reaction", target: 1, emoji: "👍", on: true }], cursor: "e:3", more: true, recovered: true }, null);
  assert.deepEqual(log.reactionsTo(1), [{ emoji: "👍", names: ["bob"] }]);
  log.addOlder({ events: [said(1, "ann", "hi"), said(2, "bob", "re", { reply_to: 1 })], cursor: "e:2", more: false, recovered: true });
  const stamp = log.stampOf(log.find(2));
  log.take({ ...said(4, "ann", "hi!"), type: "edit", target: 1 });
  assert.equal(log.find(1).text, "hi!");
  assert.notEqual(log.stampOf(log.find(2)), stamp, "who quotes it shows the new text");
  log.take({ ...said(5, "ann"), type: "delete", target: 1 });
  assert.deepEqual([log.find(1).text, Boolean(log.find(1).deleted)], ["", true]);
  log.take({ ...said(6, "ann", "plans"), type: "topic" });
  assert.equal(log.topic, "plans");
});

test("what a loaded message says of its reactions counts up to when it was asked for", () => {
  const log = new RoomLog("r");
  const reaction = (seq, from, on) => ({ ...said(seq, from), type: "reaction", target: 1, emoji: "👍", on });
  log.join({ events: [reaction(3, "bob", true), said(4, "ann")], cursor: "e:4", more: true, recovered: true }, null);
  const asOf = log.head;
  log.take(reaction(5, "cid", true));
  log.take({ ...said(6, "ann", "new"), type: "edit", target: 2 });
  log.addOlder({ events: [said(1, "ann", "hi", { reactions: { "👍": ["eve"] } }), said(2, "ann", "old")], cursor: "e:2", more: false, recovered: true }, asOf);
  assert.deepEqual(log.reactionsTo(1), [{ emoji: "👍", names: ["eve", "cid"] }]);
  assert.equal(log.find(2).text, "new");
  log.take(reaction(7, "eve", false));
  assert.deepEqual(log.reactionsTo(1), [{ emoji: "👍", names: ["cid"] }]);
});

test("a quoted message outside the window is remembered, and changes with its edits", () => {
  const log = new RoomLog("r");
  log.join({ events: [said(9, "ann", "x", { reply_to: 2 })], cursor: "e:9", more: true, recovered: true }, null);
  assert.equal(log.find(2), undefined);
  log.quote(2, said(2, "bob", "old"));
  log.take({ ...said(10, "bob", "new"), type: "edit", target: 2 });
  assert.deepEqual([log.find(2).text, log.has(2)], ["new", false]);
  log.quote(3, null);
  assert.equal(log.find(3), null);
  assert.equal(log.cursorAround(3, 40), "e:11");
});

test("a mention is what the server says is one, whatever the text looks like", () => {
  assert.ok(mentions({ mentions: ["ann"], text: "" }, "Ann") && mentions({ mentions: ["@room"] }, "ann"));
  for (const other of [{ text: "mail x@ann.org" }, { text: "@ann" }, { mentions: [], text: "@ann" }, { mentions: ["anna"] }, {}]) assert.ok(!mentions(other, "ann"));
});

function marks({ answers = {}, storage = new FakeStorage() } = {}) {
  const timers = new FakeTimers();
  const calls = [];
  const call = async (method, params) => {
    calls.push([method, params]);
    if (answers[method] instanceof Error) throw answers[method];
    return answers[method] ?? {};
  };
  const log = new RoomLog("r");
  log.join({ events: [said(1, "ann"), { ...said(2, "ann", "@me"), mentions: ["me"] }, said(3, "me")], cursor: "e:3", more: false, recovered: true }, null);
  const logs = () => [log];
  const told = () => calls.filter(([method]) => method === "chat.mark_read").map(([, params]) => params.seq);
  return { marks: new ReadMarks({ storage, call, after: timers.after, me: () => "me", logs }), log, timers, calls, answers, told };
}

test("marks are kept here and told to the server once for many", async () => {
  const { marks: kept, log, timers, calls } = marks({ answers: { "chat.unread": { rooms: [{ room: "r", unread: 2, mentions: 1, read: 1 }, { room: "other", unread: 4, mentions: 1, read: 9 }] } } });
  await kept.refresh();
  assert.deepEqual([kept.seen(log), kept.unread(log)], [1, { count: 1, mentions: 1, more: false }]);
  assert.deepEqual(kept.unreadElsewhere("other"), { count: 4, mentions: 1, more: false });
  kept.mark(log);
  log.take({ ...said(4, "ann", "a topic"), type: "topic" });
  assert.equal(kept.unread(log).count, 0, "only what is said is news");
  kept.mark(log);
  kept.mark(log);
  await timers.advance(2);
  assert.deepEqual(calls.slice(1), [["chat.mark_read", { room: "r", seq: 4 }]]);
  assert.deepEqual([kept.unread(log).count, kept.seen(log)], [0, 4]);
});

test("who has no account keeps the marks here alone, and the server is asked once", async () => {
  const { marks: kept, log, timers, calls } = marks({ answers: { "chat.unread": new RpcError({ code: -32002, message: "no" }) } });
  await kept.refresh();
  assert.equal(kept.seen(log), Infinity);
  kept.mark(log);
  await timers.advance(2);
  assert.deepEqual([calls.length, kept.seen(log)], [1, 3]);
});

test("a server that keeps no marks is not told again; one room that is not ours any more says nothing of the next mark", async () => {
  for (const [code, seqs] of [[-32601, [3]], [-32001, [3]], [-32002, [3, 4]], [-32003, [3, 4]]]) {
    const { marks: kept, log, timers, told } = marks({ answers: { "chat.unread": { rooms: [] }, "chat.mark_read": new RpcError({ code, message: "no" }) } });
    await kept.refresh();
    kept.mark(log);
    await timers.advance(2);
    log.take(said(4, "ann"));
    kept.mark(log);
    await timers.advance(2);
    assert.deepEqual(told(), seqs, String(code));
  }
});

test("a mark that a busy server did not take is told again", async () => {
  const { marks: kept, log, timers, answers, told } = marks({ answers: { "chat.unread": new RpcError({ code: -32008, message: "busy", data: { retry_after: 2 } }) } });
  await kept.refresh();
  answers["chat.unread"] = { rooms: [{ room: "r", read: 1 }] };
  await timers.advance(3);
  assert.equal(kept.seen(log), 1);
  answers["chat.mark_read"] = new RpcError({ code: -32005, message: "fast", data: { retry_after: 5 } });
  kept.mark(log);
  await timers.advance(2);
  delete answers["chat.mark_read"];
  await timers.advance(10);
  assert.deepEqual(told(), [3, 3]);
});

test("what was read here and did not reach the server is told on the next connection, and by a page that is loaded again", async () => {
  const answers = { "chat.unread": { rooms: [{ room: "r", read: 1 }] }, "chat.mark_read": new ConnectionLost() };
  const first = marks({ answers });
  await first.marks.refresh();
  first.marks.mark(first.log);
  await first.timers.advance(2);
  delete answers["chat.mark_read"];
  await first.marks.refresh();
  await first.timers.advance(2);
  assert.deepEqual(first.told(), [3, 3], "after a lost connection");
  const storage = new FakeStorage();
  const closed = marks({ answers, storage });
  await closed.marks.refresh();
  closed.marks.mark(closed.log);
  await closed.timers.advance(0.5);
  const again = marks({ answers, storage });
  again.marks.catchUp(again.log);
  await again.marks.refresh();
  await again.timers.advance(2);
  assert.deepEqual(again.told(), [3], "after a reload");
  again.marks.catchUp(again.log);
  await again.timers.advance(2);
  answers["chat.unread"] = { rooms: [{ room: "r", read: 3 }] };
  await again.marks.refresh();
  await again.timers.advance(2);
  assert.deepEqual(again.told(), [3], "and no more than once");
});

test("what was read by somebody else is neither told nor known", async () => {
  const { marks: kept, log, timers, told } = marks({ answers: { "chat.unread": { rooms: [{ room: "r", read: 2, unread: 5 }] } } });
  await kept.refresh();
  kept.mark(log);
  kept.clear();
  await timers.advance(2);
  assert.deepEqual([told(), kept.unreadElsewhere("r").count], [[], 0]);
});

test("unread is what is there: an edit or a deletion of what arrived counts as the server counts it", async () => {
  for (const elsewhere of [false, true]) {
    const { marks: kept, log } = marks({ answers: { "chat.unread": { rooms: [] } } });
    await kept.refresh();
    kept.mark(log);
    if (elsewhere) log.skip({ to: 4 }); // the window is not at the end any more
    const arrive = (event) => log.take(event) && kept.take(log, event);
    if (!elsewhere) arrive({ ...said(4, "ann"), type: "topic" });
    const counts = () => Object.values(kept.unread(log)).slice(0, 2);
    arrive({ ...said(5, "bob", "@me oops"), mentions: ["me"] });
    arrive(said(6, "bob", "hello"));
    assert.deepEqual(counts(), [2, 1]);
    arrive({ ...said(7, "bob", "@me hello"), mentions: ["me"], type: "edit", target: 6 });
    assert.deepEqual(counts(), [2, 2]);
    arrive({ ...said(8, "bob", "oops"), type: "edit", target: 5 });
    assert.deepEqual(counts(), [2, 1]);
    arrive({ ...said(9, "bob"), type: "delete", target: 6 });
    assert.deepEqual(counts(), [1, 0]);
    arrive({ ...said(10, "bob"), type: "delete", target: 5 });
    assert.deepEqual([counts(), kept.unread(log).more], [[0, 0], elsewhere]);
    kept.mark(log);
    arrive(said(11, "bob", "new"));
    assert.deepEqual(kept.unread(log), { count: 1, mentions: 0, more: false });
  }
});

test("what arrives while the window is elsewhere is counted to the last one; of very many it is said that there are more", async () => {
  const { marks: kept, log } = marks();
  kept.mark(log);
  const arrive = (event) => log.take(event) && kept.take(log, event);
  log.showAround({ events: [said(1, "ann")], cursor: "e:1", more: false, recovered: true });
  for (let seq = 4; seq < 2004; seq += 1) arrive(said(seq, "ann"));
  assert.deepEqual(kept.unread(log), { count: 2000, mentions: 0, more: false });
  arrive(said(2004, "ann"));
  assert.deepEqual(kept.unread(log), { count: 2000, mentions: 0, more: true });
  log.showLatest({ events: [said(2004, "ann"), said(2005, "ann")], cursor: "e:2005", more: true, recovered: true });
  assert.deepEqual(kept.unread(log), { count: 2001, mentions: 0, more: true });
});

test("who writes is told at most every three seconds, and is forgotten after six", async () => {
  const timers = new FakeTimers();
  const told = [];
  const typists = new Typists({ now: timers.now, after: timers.after, tell: (room) => told.push(room) });
  typists.write("r");
  typists.write("r");
  await timers.advance(3);
  typists.write("r");
  typists.wrote("r");
  typists.write("r");
  assert.deepEqual(told, ["r", "r", "r"]);
  typists.take({ room: "r", from: "ann" });
  typists.take({ room: "r", from: "me" });
  assert.deepEqual(typists.in("r", "me"), ["ann"]);
  typists.done("r", "ann");
  assert.deepEqual(typists.in("r", "me"), []);
  typists.take({ room: "r", from: "bob" });
  await timers.advance(7);
  assert.deepEqual([typists.in("r"), typists.in("nowhere")], [[], []]);
});
