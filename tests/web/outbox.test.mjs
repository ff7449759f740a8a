import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { test } from "node:test";

import { Outbox, randomKey } from "../../netsvc/web/client/outbox.js";
import { FakeStorage, FakeTimers, settle } from "./fakes.mjs";

const DAY = 24 * 3600 * 1000;

/** An outbox and what it stands on; `again` opens another on the same storage, as a reloaded page does. */
function outbox({ storage = new FakeStorage(), verdict = () => ({ again: false, reason: "No." }), now = { ms: 1_000_000 } } = {}) {
  const timers = new FakeTimers();
  let keys = storage.entries.size;
  const box = new Outbox({ storage, judge: verdict, now: () => now.ms, after: timers.after, newKey: () => `key-${(keys += 1)}` });
  return { box, storage, timers, now, again: () => outbox({ storage, verdict, now }) };
}

/** A `send` whose answers are given by hand. */
function manual() {
  const asked = [];
  const send = (item) => new Promise((resolve, reject) => asked.push({ text: item.text, key: item.key, resolve, reject }));
  return { asked, send };
}

const texts = (box, room = "r") => box.of(room).map(({ text, state }) => `${text} ${state}`);

test("a message is stored before it is sent and leaves the storage only when it is acknowledged", async () => {
  const { box, storage } = outbox();
  const { asked, send } = manual();
  box.add("r", "hello", "");
  assert.equal(storage.entries.size, 1);
  box.connected("", send);
  assert.deepEqual(texts(box), ["hello sending"]);
  assert.equal(storage.entries.size, 1);
  asked[0].resolve({ seq: 7 });
  await settle();
  assert.equal(storage.entries.size, 0);
  assert.deepEqual(texts(box), ["hello sent"]);
  box.seen("r", 6);
  assert.deepEqual(texts(box), ["hello sent"]);
  box.seen("r", 7);
  assert.deepEqual(texts(box), []);
});

test("what is written before anybody has logged in belongs to who connects first", async () => {
  const { box, storage } = outbox();
  const { asked, send } = manual();
  box.add("r", "early", null);
  assert.deepEqual(texts(box), ["early waiting"]);
  box.connected("ann", send);
  assert.deepEqual(asked.map(({ text }) => text), ["early"]);
  assert.equal(JSON.parse([...storage.entries.values()][0]).author, "ann");
});

test("a room's messages go one after the other; rooms do not wait for each other", async () => {
  const { box } = outbox();
  const { asked, send } = manual();
  box.connected("", send);
  for (const [room, text] of [["r", "one"], ["r", "two"], ["s", "three"]]) box.add(room, text, "");
  assert.deepEqual(asked.map(({ text }) => text), ["one", "three"]);
  asked[0].resolve({ seq: 1 });
  await settle();
  assert.deepEqual(asked.map(({ text }) => text), ["one", "three", "two"]);
});

test("what was under way when the connection died is sent again, first and with the same key", async () => {
  const { box } = outbox({ verdict: () => ({ again: true, reason: "" }) });
  const [before, after] = [manual(), manual()];
  box.connected("", before.send);
  box.add("r", "one", "");
  box.add("r", "two", "");
  before.asked[0].reject(new Error("lost"));
  await settle();
  box.disconnected();
  assert.deepEqual(texts(box), ["one waiting", "two waiting"]);
  box.connected("", after.send);
  assert.deepEqual([after.asked[0].text, after.asked[0].key], ["one", before.asked[0].key]);
  before.asked[0].resolve({ seq: 1 });
  await settle();
  assert.equal(after.asked.length, 1, "an answer on the old connection means nothing");
});

test("a late failure of the old connection does not disturb the new one", async () => {
  const { box } = outbox();
  const [before, after] = [manual(), manual()];
  box.connected("", before.send);
  box.add("r", "one", "");
  box.disconnected();
  box.connected("", after.send);
  before.asked[0].reject(new Error("lost"));
  await settle();
  assert.deepEqual(texts(box), ["one sending"]);
});

test("a reloaded page has the same messages, in the same order, with the same keys", async () => {
  const first = outbox();
  for (const text of ["one", "two", "three"]) first.box.add("r", text, "");
  first.storage.setItem("netsvc.outbox.broken", "{");
  const { box, storage } = first.again();
  assert.deepEqual(box.of("r").map(({ text, key }) => [text, key]), first.box.of("r").map(({ text, key }) => [text, key]));
  assert.equal(storage.getItem("netsvc.outbox.broken"), null);
});

test("a refused message says why and holds up nobody; it can be sent again or given up", async () => {
  const { box, storage } = outbox();
  const { asked, send } = manual();
  box.connected("", send);
  box.add("r", "bad", "");
  box.add("r", "good", "");
  box.discard(box.of("r")[0].key);
  assert.deepEqual(texts(box), ["bad sending", "good waiting"], "what is on its way cannot be taken back");
  asked[0].reject(new Error());
  await settle();
  assert.deepEqual(texts(box), ["bad failed", "good sending"]);
  assert.equal(box.of("r")[0].reason, "No.");
  const { key } = box.of("r")[0];
  asked[1].resolve({ seq: 1 });
  await settle();
  box.retry(key);
  box.retry(key);
  assert.deepEqual([asked.length, asked[2].key], [3, key]);
  asked[2].reject(new Error());
  await settle();
  box.discard(key);
  box.discard(key);
  assert.equal(storage.entries.size, 0);
});

test("when the server says so, the same message is tried again after a while, and the next one waits", async () => {
  const { box, timers } = outbox({ verdict: () => ({ again: true, after: 3, reason: "Too fast." }) });
  const { asked, send } = manual();
  box.connected("", send);
  box.add("r", "one", "");
  box.add("r", "two", "");
  asked[0].reject(new Error());
  await timers.advance(2.9);
  assert.deepEqual([asked.length, box.of("r")[0].reason], [1, "Too fast."]);
  await timers.advance(0.2);
  assert.deepEqual(asked.map(({ text }) => text), ["one", "one"]);
  asked[1].reject(new Error());
  await settle();
  box.disconnected();
  await timers.advance(10);
  assert.equal(asked.length, 2, "without a connection there is nothing to try");
});

test("what was written under another name waits for that name, since the server knows keys by name", async () => {
  const { box } = outbox();
  const { asked, send } = manual();
  box.add("r", "as ann", "ann");
  box.add("r", "as a guest", "");
  box.connected("", send);
  assert.deepEqual(asked.map(({ text }) => text), ["as a guest"]);
  assert.deepEqual(texts(box), ["as a guest sending"], "nobody else sees it");
  box.forget();
  assert.deepEqual(texts(box), [], "nor does who comes next");
  box.connected("ann", send);
  assert.deepEqual([asked[1].text, texts(box)], ["as ann", ["as ann sending"]]);
});

test("what was sent longer ago than the server remembers keys is not sent again without asking", async () => {
  const first = outbox();
  first.box.connected("", manual().send);
  first.box.add("r", "old", "");
  first.box.add("r", "never sent", "");
  first.now.ms += DAY;
  const { box, storage } = first.again();
  const { asked, send } = manual();
  box.connected("", send);
  assert.deepEqual(texts(box), ["old failed", "never sent sending"]);
  assert.match(box.of("r")[0].reason, /may have arrived/);
  const { key } = box.of("r")[0];
  asked[0].resolve({ seq: 1 });
  await settle();
  box.retry(key);
  assert.equal(asked[1].text, "old");
  assert.notEqual(asked[1].key, key, "the old key is worth nothing any more");
  assert.equal(storage.getItem(`netsvc.outbox.${key}`), null);
});

test("what another tab sent or gave up is dropped here too", () => {
  const { box } = outbox();
  box.add("r", "one", null);
  box.removedElsewhere("netsvc.other");
  box.removedElsewhere(null);
  assert.equal(box.of("r").length, 1);
  box.removedElsewhere(`netsvc.outbox.${box.of("r")[0].key}`);
  assert.equal(box.of("r").length, 0);
});

test("keys are version 4 UUIDs, also where the browser has no randomUUID", () => {
  const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  const plain = { getRandomValues: (bytes) => webcrypto.getRandomValues(bytes) };
  assert.match(randomKey(webcrypto), uuid);
  assert.match(randomKey(plain), uuid);
  assert.notEqual(randomKey(plain), randomKey(plain));
});
