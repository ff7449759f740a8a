import assert from "node:assert/strict";
import { test } from "node:test";

import { ConnectionLost, DeadlinePassed, RpcError } from "../../netsvc/web/client/rpc.js";
import { SafeStorage } from "../../netsvc/web/client/storage.js";
import { inWords, isPassing, judgePost, refusalInWords } from "../../netsvc/web/client/words.js";
import { FakeStorage } from "./fakes.mjs";

const error = (code, data) => new RpcError({ code, message: "from the server", data });

test("every error is a sentence for people; the server's detail is used where it helps", () => {
  assert.equal(inWords(error(-32004, { detail: "the name is taken" })), "The name is taken.");
  assert.equal(inWords(error(-32602, { detail: "name: too long", parameter: "name" })), "Too long.");
  assert.equal(inWords(error(-32004)), "This conflicts with something that already exists.");
  assert.equal(inWords(error(-32603, { detail: "KeyError" })), "Something went wrong on the server.");
  assert.equal(inWords(error(-1)), "From the server.");
  for (const other of [new ConnectionLost(), new DeadlinePassed("m", 1), new TypeError("x")]) assert.match(inWords(other), /^[A-Z].*\.$/);
});

test("a name that a sentence begins with stays as it is, and times are told as people here tell them", () => {
  const detail = (text) => inWords(error(-32002, { detail: text }));
  assert.equal(detail("mem52064 is for its members: ask for an invitation"), "mem52064 is for its members: ask for an invitation.");
  assert.equal(detail("ann owns garden, too: only an admin may change that"), "ann owns garden, too: only an admin may change that.");
  assert.equal(detail("guests may change a message only within 60 s"), "Guests may change a message only within 60 s.");
  const until = new Date();
  until.setHours(23, 59, 59);
  assert.match(detail(`you are muted in garden until ${until.toISOString()}`), /^You are muted in garden until \d\d:59( PM)?\.$/);
  assert.match(detail("you are banned from garden until 2031-03-05T14:31:07Z"), /^You are banned from garden until .*2031, .*\d\d:\d\d.*\.$/);
});

test("a post is tried again after what passes by itself, and after nothing else", () => {
  assert.deepEqual(judgePost(new ConnectionLost()), { again: true, reason: "" });
  assert.equal(judgePost(new DeadlinePassed("chat.post", 20)).after, 2);
  assert.deepEqual(judgePost(error(-32005, { retry_after: 3 })), { again: true, after: 3, reason: "That was too fast. Trying again in 3 s." });
  assert.equal(judgePost(error(-32008, { retry_after: 3600 })).after, 60);
  assert.equal(judgePost(error(-32007)).after, 2);
  for (const code of [-32602, -32603, -32001, -32002, -32003, -32004, -32006]) assert.equal(judgePost(error(code)).again, false, String(code));
  assert.ok(!isPassing(new Error()));
});

test("a refused connection says why", () => {
  assert.equal(refusalInWords({ code: 4401, reason: "" }), "You have to sign in.");
  assert.equal(refusalInWords({ code: 4401, reason: "your session has ended" }), "Your session has ended.");
  assert.equal(refusalInWords({ code: 4403, reason: "" }), "You may not be in this room.");
  assert.equal(refusalInWords({ code: 4403, reason: "you are banned from den" }), "You are banned from den.");
  assert.equal(refusalInWords({ code: 4410, reason: "" }), "The server refused the connection.");
  assert.equal(refusalInWords({ code: 4410, reason: "gone!" }), "Gone!");
});

test("storage that is forbidden or full is replaced by memory", () => {
  const forbidden = new SafeStorage(() => {
    throw new Error("cookies are off");
  });
  const full = new FakeStorage(new Map([["a", "old"]]));
  full.setItem = () => {
    throw new Error("full");
  };
  Object.defineProperty(full, "length", { get: () => full.entries.size });
  full.key = (index) => [...full.entries.keys()][index];
  for (const [storage, keys] of [[forbidden, ["a", "b"]], [new SafeStorage(() => full), ["a", "b"]]]) {
    storage.setItem("a", "1");
    storage.setItem("b", "2");
    assert.deepEqual([storage.getItem("a"), storage.keys(), storage.getItem("c")], ["1", keys, null]);
    storage.removeItem("a");
    assert.equal(storage.getItem("a"), null);
  }
});
