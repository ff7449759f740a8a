import assert from "node:assert/strict";
import { test } from "node:test";

import { RoomLog } from "../../netsvc/web/client/rooms.js";
import { rowsOf } from "../../netsvc/web/timeline.js";

const at = (day, minute) => new Date(2026, 0, day, 12, minute).toISOString();
const event = (seq, from, when, more = {}) => ({ seq, cursor: `e:${seq}`, type: "message", from, at: when, text: `m${seq}`, ...more });
const pendingItem = (key) => ({ key, text: key, state: "waiting" });

function rows(events, { unreadAfter = Infinity, pending = [], more = false, before = () => {} } = {}) {
  const log = new RoomLog("r");
  log.join({ events, cursor: `e:${events.at(-1)?.seq ?? 0}`, more, recovered: true }, null);
  before(log);
  return rowsOf(log, { me: "me", unreadAfter, pending });
}

const kinds = (list) => list.map(({ kind }) => kind).join(" ");

test("a room that was not joined yet shows only what waits to be sent", () => {
  const view = { me: "", unreadAfter: Infinity, pending: [pendingItem("a")] };
  assert.equal(kinds(rowsOf(new RoomLog("r"), view)), "pending");
});

test("the first row says whether there is more before it", () => {
  assert.equal(kinds(rows([])), "start");
  assert.equal(kinds(rows([event(5, "ann", at(1, 0))], { more: true })), "older day message");
});

test("each day begins with its name, and keys are unique", () => {
  const list = rows([event(1, "ann", at(1, 0)), event(2, "ann", at(1, 1)), event(3, "ann", at(2, 0))]);
  assert.equal(kinds(list), "start day message message day message");
  assert.equal(new Set(list.map(({ key }) => key)).size, list.length);
});

test("what one person writes within five minutes stands under one name", () => {
  const list = rows([event(1, "ann", at(1, 0)), event(2, "ann", at(1, 4)), event(3, "bob", at(1, 4)), event(4, "bob", at(1, 9)), event(5, "me", at(1, 9))]);
  const messages = list.filter(({ kind }) => kind === "message");
  assert.deepEqual(messages.map(({ leads }) => leads), [true, false, true, true, true]);
  assert.deepEqual(messages.map(({ own }) => own), [false, false, false, false, true]);
});

test("the line above what is new stands before the first message of somebody else", () => {
  const list = rows([event(1, "ann", at(1, 0)), event(2, "me", at(1, 1)), event(3, "ann", at(1, 2)), event(4, "ann", at(1, 2))], { unreadAfter: 1 });
  assert.equal(kinds(list), "start day message message unread message message");
});

test("a hole in the log is a row; so is what was let go at the end, and a log that was replaced", () => {
  const gap = rows([event(1, "ann", at(1, 0)), event(5, "ann", at(1, 0))]);
  assert.equal(kinds(gap), "start day message gap day message");
  assert.deepEqual(gap[3].gap, { from: 2, to: 4, gone: false });
  assert.equal(kinds(rows([event(1, "ann", at(1, 0))], { before: (log) => log.skip({ to: 3 }) })), "start day message newer");
  const replaced = rows([event(1, "ann", at(1, 0))], {
    before: (log) => log.join({ events: [], cursor: "f:0", more: false, recovered: false }, "e:1"),
  });
  assert.equal(kinds(replaced), "replaced start");
});

test("edits, deletions, reactions and types of the future have no row of their own", () => {
  const list = rows(["message", "edit", "delete", "reaction", "topic", "file", "surprise"].map((type, i) => event(i + 1, "ann", at(1, i), { type })));
  assert.deepEqual(list.filter(({ event }) => event).map((row) => [row.kind, row.event.type]), [["message", "message"], ["notice", "topic"], ["message", "file"]]);
});

test("what is under way comes last and belongs to my last group", () => {
  const pending = [pendingItem("a"), pendingItem("b")];
  const own = rows([event(1, "me", at(1, 0))], { pending }).slice(-2);
  assert.deepEqual(own.map(({ leads }) => leads), [false, false]);
  assert.equal(rows([event(1, "ann", at(1, 0))], { pending }).at(-2).leads, true);
});
