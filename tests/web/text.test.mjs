import assert from "node:assert/strict";
import { test } from "node:test";

import * as text from "../../netsvc/web/client/text.js";

test("what is typed becomes a room's name, or a sentence says what is wrong with it", () => {
  for (const [typed, name] of [["lobby", "lobby"], ["  #Lobby ", "lobby"], ["Reading Club", "reading-club"], ["0-a.b_c", "0-a.b_c"]]) {
    assert.deepEqual(text.roomName(typed), { name, problem: "" });
  }
  const wrong = { "": /Give/, "-a": /starts/, "a/b": /letters/, "straße": /letters/, ["x".repeat(65)]: /at most 64.*65/ };
  for (const [typed, problem] of Object.entries(wrong)) assert.match(text.roomName(typed).problem, problem);
});

test("a guest's name is checked as the server does", () => {
  for (const good of ["ann", "Ann-2", "Jürgen", "名前", "x".repeat(32)]) assert.equal(text.guestNameProblem(good), "", good);
  for (const bad of ["", "a b", "<b>", "x".repeat(33), "_a", "a\u202eb"]) assert.notEqual(text.guestNameProblem(bad), "", bad);
});

test("the address names the room, and a bad one names none", () => {
  assert.equal(text.roomOfPath(text.pathOfRoom("a.b_c-d")), "a.b_c-d");
  assert.equal(text.roomOfPath("/chat/Lobby"), "lobby");
  for (const path of ["/", "/chat/", "/chat/a/b/", "/chat/%2e%2e%2f/", "/chat/%/", "/other/lobby/"]) assert.equal(text.roomOfPath(path), "", path);
});

test("lengths are bytes of UTF-8, as the server counts", () => {
  assert.deepEqual(["a", "ü", "€", "😀"].map(text.byteLength), [1, 2, 3, 4]);
  assert.deepEqual([text.formatBytes(900), text.formatBytes(1536)], ["900 bytes", "1.5 KiB"]);
});

test("days are named from where we stand, also across a change of clocks", () => {
  const now = new Date(2026, 2, 30, 1, 0);
  assert.equal(text.formatDay(new Date(2026, 2, 30, 0, 1), now), "Today");
  assert.equal(text.formatDay(new Date(2026, 2, 29, 0, 1), now), "Yesterday");
  assert.match(text.formatDay(new Date(2026, 2, 28, 23, 59), now), /28/);
  assert.doesNotMatch(text.formatDay(new Date(2026, 0, 2), now), /2026/);
  assert.match(text.formatDay(new Date(2025, 11, 31), now), /2025/);
  assert.ok(text.formatTime(now).length < text.formatFull(now).length);
});

test("a wait is never said to be nothing", () => {
  assert.deepEqual([0, 0.2, 3.1, 59, 61].map(text.formatWait), ["1 s", "1 s", "4 s", "59 s", "1 min 1 s"]);
});
