import assert from "node:assert/strict";
import { test } from "node:test";

import { Quotes } from "../../netsvc/web/client/quotes.js";

test("what is wanted after a log was forgotten in the midst of a question is looked up, too", async () => {
  const questions = [];
  const known = new Map();
  const log = { find: (seq) => known.get(seq), quote: (seq, event) => known.set(seq, event), cursorAround: (seq) => `e:${seq}` };
  const page = (_, { before }, apply) =>
    new Promise((resolve) => questions.push(() => resolve(apply({ events: [{ seq: Number(before.slice(2)) }] }, 0))));
  const quotes = new Quotes({ page, after: () => {}, isOnline: () => true });
  const first = quotes.look(log, 5);
  quotes.forget(log);
  await quotes.look(log, 7);
  questions.shift()();
  while (questions.length === 0) await new Promise((resolve) => setImmediate(resolve));
  questions.shift()();
  await first;
  assert.equal(known.get(7).seq, 7);
});
