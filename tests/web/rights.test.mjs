import assert from "node:assert/strict";
import { test } from "node:test";

import { RpcError } from "../../netsvc/web/client/rpc.js";
import { RoomLog } from "../../netsvc/web/client/rooms.js";
import { inWords } from "../../netsvc/web/client/words.js";
import { lockOf, may, mayAmend } from "../../netsvc/web/rights.js";

const NOW = new Date(2026, 10, 21, 12);

function room(is) {
  return Object.assign(new RoomLog("garden"), is);
}

test("a right includes those below it; where nothing is known there is none", () => {
  const moderated = room({ info: { may: "moderate" } });
  assert.deepEqual(["read", "write", "moderate", "own"].map((right) => may(moderated, right)), [true, true, true, false]);
  assert.ok(!may(room({}), "read"));
  assert.ok(!may(null, "read"));
});

test("one writes where nothing is known against it", () => {
  assert.equal(lockOf(room({}), "ann", NOW), null);
  assert.equal(lockOf(room({ info: { may: "write" } }), "ann", NOW), null);
});

test("who is muted is told until when, as far as the log says", () => {
  const event = (seq, more) => ({ seq, type: "moderation", action: "mute", name: "Ann", ...more });
  const until = new Date(2026, 10, 21, 14, 31);
  const muted = (...events) => lockOf(room({ info: { may: "read" }, events }), "ann", NOW);
  const known = muted(event(1), event(2, { until: until.toISOString() }), event(3, { name: "bob" }));
  assert.match(known.words, /^You are muted here until \d\d:31( PM)?\.$/);
  assert.deepEqual([known.until, known.shut], [until, false]);
  for (const unknown of [muted(), muted(event(1))]) assert.deepEqual(unknown, { words: "You are muted here.", shut: false, until: null });
});

test("a room that refused us is shut; one that could not answer is not", () => {
  const problem = (code, data) => inWords(new RpcError({ code, message: "no", data }));
  assert.ok(lockOf(room({ problem: problem(-32002, { detail: "garden is for its members" }) }), "ann", NOW).shut);
  assert.ok(lockOf(room({ problem: problem(-32003) }), "ann", NOW).shut);
  for (const code of [-32603, -32005, -32007, -32008]) assert.equal(lockOf(room({ problem: problem(code) }), "ann", NOW), null, String(code));
});

test("what was sent under my name before it was mine is not mine to change", () => {
  const since = "2026-11-21T10:00:00.000Z";
  const event = (from, at) => ({ from, at });
  const known = room({ info: { may: "write", amends_since: since } });
  assert.deepEqual(["2026-11-21T09:59:59.999Z", since].map((at) => mayAmend(known, event("ann", at), "ann")), [false, true]);
  assert.ok(!mayAmend(known, event("bob", since), "ann"));
  for (const unknown of [room({}), room({ info: { may: "write" } }), null]) assert.ok(mayAmend(unknown, event("ann", since), "ann"), "as far as is known");
});
