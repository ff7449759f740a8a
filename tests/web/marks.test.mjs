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

test("a mention is the whole name, as the server says or as the text does", () => {
  assert.ok(mentions({ text: "hi @ann!" }, "ann") && mentions({ text: "@anna @ann" }, "ann") && mentions({ mentions: ["ann"], text: "" }, "Ann") && mentions({ mentions: ["@room"] }, "ann"));
  for (const other of [{ text: "@anna" }, { text: "ann" }, { mentions: [], text: "@ann" }, {}]) assert.ok(!mentions(other, "ann"));
  assert.ok(!mentions({ text: "@" }, ""));
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
  log.join({ events: [said(1, "ann"), said(2, "ann", "@me"), said(3, "me")], cursor: "e:3", more: false, recovered: true }, null);
  return { marks: new ReadMarks({ storage, call, after: timers.after, me: () => "me" }), log, timers, calls };
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

test("a server that refuses a mark is not told again; one that is away is", async () => {
  for (const [error, told] of [[new RpcError({ code: -32601, message: "no" }), 1], [new ConnectionLost(), 2]]) {
    const { marks: kept, log, timers, calls } = marks({ answers: { "chat.unread": { rooms: [] }, "chat.mark_read": error } });
    await kept.refresh();
    kept.mark(log);
    await timers.advance(2);
    log.take(said(4, "ann"));
    kept.mark(log);
    await timers.advance(2);
    assert.equal(calls.filter(([method]) => method === "chat.mark_read").length, told);
  }
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
