import assert from "node:assert/strict";
import { test } from "node:test";

import { backoff, ConnectionLost, DeadlinePassed, refuses, Refused, RpcClient, RpcError } from "../../netsvc/web/client/rpc.js";
import { fakeSockets, FakeTimers, reported, settle } from "./fakes.mjs";

/** A client whose socket was opened, and everything it is made of. */
function client(options = {}) {
  const sockets = fakeSockets();
  const timers = new FakeTimers();
  const rpc = new RpcClient({ url: "ws://here/ws", WebSocket: sockets.FakeSocket, timers, random: () => 0.5, ...options });
  const states = [];
  rpc.changed.add(({ name }) => states.push(name));
  rpc.open();
  return { rpc, sockets, timers, states };
}

async function online(options) {
  const parts = client(options);
  parts.sockets.last.accept();
  await settle();
  return parts;
}

test("a call is answered by its id, whatever the order of the answers", async () => {
  const { rpc, sockets } = await online();
  const first = rpc.call("a", { x: 1 });
  const second = rpc.call("b");
  const [{ id: one, params, deadline }, { id: two }] = sockets.last.sent;
  assert.deepEqual([params, deadline], [{ x: 1 }, 20]);
  sockets.last.answer(two, "second");
  sockets.last.answer(one, "first");
  assert.deepEqual(await Promise.all([first, second]), ["first", "second"]);
});

test("a batch of answers is taken apart", async () => {
  const { rpc, sockets } = await online();
  const call = rpc.call("a");
  sockets.last.deliver([{ jsonrpc: "2.0", id: sockets.last.sent[0].id, result: 7 }]);
  assert.equal(await call, 7);
});

test("an error answer rejects with its code and data", async () => {
  const { rpc, sockets } = await online();
  const call = rpc.call("a");
  sockets.last.fail(sockets.last.sent[0].id, -32005, "Rate limited", { retry_after: 2 });
  await assert.rejects(call, (error) => error instanceof RpcError && error.code === -32005 && error.data.retry_after === 2);
});

test("without a connection a call fails at once, and a lost one fails every call under way", async () => {
  const { rpc, sockets } = client();
  await assert.rejects(rpc.call("a"), ConnectionLost);
  sockets.last.accept();
  await settle();
  const call = rpc.call("a");
  sockets.last.drop();
  await assert.rejects(call, ConnectionLost);
});

test("a call may have an idempotency key, which goes beside its params", async () => {
  const { rpc, sockets } = await online();
  const keyed = rpc.call("a", { x: 1 }, { key: "k" });
  const [{ id, params, key, deadline }] = sockets.last.sent;
  assert.deepEqual([params, key, deadline], [{ x: 1 }, "k", 20]);
  sockets.last.answer(id, 1);
  assert.equal(await keyed, 1);
});

test("a call past its deadline fails; if nothing at all was heard since, the connection is probed, and is dead without an answer", async () => {
  const { rpc, sockets, timers } = await online();
  const answered = assert.rejects(rpc.call("slow", {}, { deadline: 5 }), DeadlinePassed);
  await timers.advance(2);
  sockets.last.notify("chat.event", {});
  await timers.advance(3);
  await answered;
  assert.equal(rpc.state.name, "online");
  const dead = assert.rejects(rpc.call("slow", {}, { deadline: 5 }), DeadlinePassed);
  await timers.advance(5);
  await dead;
  assert.equal(rpc.state.name, "online");
  assert.equal(sockets.last.sent.at(-1).method, "auth.whoami");
  sockets.last.answer(sockets.last.sent.at(-1).id, {});
  await timers.advance(10);
  assert.equal(rpc.state.name, "online", "the call was slow, that is all");
  const again = [1, 2].map(() => assert.rejects(rpc.call("slow", {}, { deadline: 5 }), DeadlinePassed));
  await timers.advance(5);
  await Promise.all(again);
  assert.equal(sockets.last.sent.filter(({ method }) => method === "auth.whoami").length, 2, "one probe for both");
  await timers.advance(10);
  assert.equal(rpc.state.name, "waiting");
  assert.ok(sockets.last.closed);
});

test("notifications reach who asked for them; what is no JSON-RPC is ignored; unknown requests are refused", async () => {
  const { rpc, sockets } = await online();
  const heard = [];
  const stop = rpc.on("chat.event", (params) => heard.push(params.seq));
  for (const junk of ["{", "null", "3", '{"id":99,"result":1}']) sockets.last.deliver(junk);
  sockets.last.notify("chat.event", { seq: 1 });
  sockets.last.notify("chat.other", { seq: 2 });
  stop();
  sockets.last.notify("chat.event", { seq: 3 });
  assert.deepEqual(heard, [1]);
  sockets.last.deliver({ jsonrpc: "2.0", id: "s1", method: "do.something" });
  assert.equal(sockets.last.sent.at(-1).error.code, -32601);
});

test("it counts as online when greeted, and not before", async () => {
  let welcome;
  const { rpc, sockets, states } = client({ greet: () => new Promise((resolve) => (welcome = resolve)) });
  sockets.last.accept();
  await settle();
  assert.equal(rpc.state.name, "connecting");
  welcome();
  await settle();
  assert.deepEqual(states, ["connecting", "online"]);
});

test("a greeting that fails is tried again; one that is refused is not, until somebody restarts", async () => {
  let outcome = new Error("odd");
  const { rpc, sockets, timers } = await online({
    greet: async () => {
      if (outcome) throw outcome;
    },
  });
  assert.equal(rpc.state.name, "waiting");
  outcome = new Refused("Sign in.");
  await timers.advance(1);
  sockets.last.accept();
  await settle();
  assert.deepEqual(rpc.state, { name: "refused", code: 4401, reason: "Sign in." });
  await timers.advance(3600);
  assert.equal(sockets.opened.length, 2);
  outcome = null;
  rpc.restart();
  sockets.last.accept();
  await settle();
  assert.equal(rpc.state.name, "online");
});

test("the waits double up to the longest, half of each left to chance", () => {
  const limits = { first: 0.5, longest: 30 };
  assert.deepEqual([0, 1, 2, 3].map((n) => backoff(n, limits, () => 0)), [0.25, 0.5, 1, 2]);
  assert.equal(backoff(50, limits, () => 0), 15);
  assert.ok(backoff(50, limits, () => 0.999) < 30);
});

test("every close code leads back but those of the 44xx class", async () => {
  for (const code of [1000, 1001, 1006, 1011, 1013, 4500, 4599]) {
    const { rpc, sockets } = await online();
    sockets.last.drop(code);
    assert.equal(rpc.state.name, "waiting", String(code));
  }
  for (const code of [4400, 4401, 4403, 4499]) {
    const { rpc, sockets, timers } = await online();
    sockets.last.drop(code, "no");
    assert.deepEqual(rpc.state, { name: "refused", code, reason: "no" });
    await timers.advance(3600);
    assert.equal(sockets.opened.length, 1);
  }
  assert.ok(refuses(4400) && !refuses(4399) && !refuses(4500));
});

test("failures in a row lengthen the wait; a connection that lasted forgives them", async () => {
  const { rpc, sockets, timers } = await online();
  const waits = [];
  for (let i = 0; i < 3; i += 1) {
    sockets.last.drop();
    waits.push(rpc.wait);
    await timers.advance(rpc.wait);
  }
  assert.deepEqual(waits, [0.375, 0.75, 1.5]);
  sockets.last.accept();
  await settle();
  await timers.advance(10);
  sockets.last.drop();
  assert.equal(rpc.wait, 0.375);
});

test("a draining server says when to return, and is obeyed once, within reason", async () => {
  const { rpc, sockets, timers } = await online();
  sockets.last.notify("server.draining", { return_after: 12.5 });
  assert.equal(rpc.state.name, "online");
  sockets.last.drop(1001);
  assert.equal(rpc.wait, 12.5);
  await timers.advance(12.5);
  sockets.last.drop();
  assert.ok(rpc.wait < 2);
  await timers.advance(2);
  sockets.last.accept();
  await settle();
  sockets.last.notify("server.draining", { return_after: 1e9 });
  sockets.last.notify("server.draining", { return_after: "soon" });
  sockets.last.drop(1001);
  assert.equal(rpc.wait, 300);
});

test("nobody has to wait who asks to try now; the old wait is then void", async () => {
  const { rpc, sockets, timers } = await online();
  sockets.last.drop();
  rpc.retryNow();
  rpc.retryNow();
  assert.equal(rpc.state.name, "connecting");
  assert.equal(rpc.wait, 0);
  sockets.last.accept();
  await timers.advance(5);
  assert.equal(sockets.opened.length, 2);
  assert.equal(rpc.state.name, "online");
});

test("a handshake that hangs is given up", async () => {
  const { rpc, sockets, timers } = client();
  await timers.advance(10);
  assert.equal(rpc.state.name, "waiting");
  assert.ok(sockets.opened[0].closed);
});

test("a silent connection is asked for a sign of life, and dropped if it gives none", async () => {
  const { rpc, sockets, timers } = await online();
  await timers.advance(30);
  const probe = sockets.last.sent.at(-1);
  assert.equal(probe.method, "auth.whoami");
  sockets.last.fail(probe.id, -32001, "who are you?");
  await timers.advance(29);
  assert.equal(sockets.last.sent.length, 1);
  await timers.advance(1 + 10);
  assert.equal(rpc.state.name, "waiting");
});

test("who comes back to the page may ask at once whether the connection lives", async () => {
  const { rpc, sockets, timers } = await online();
  rpc.probe();
  sockets.last.answer(sockets.last.sent.at(-1).id, {});
  await timers.advance(10);
  assert.equal(rpc.state.name, "online");
  rpc.probe();
  await timers.advance(10);
  assert.equal(rpc.state.name, "waiting");
  rpc.probe();
  assert.equal(sockets.last.sent.length, 2);
});

test("what a socket says after it was let go is not heard", async () => {
  const { rpc, sockets, states } = await online();
  const old = sockets.last;
  const late = old.onclose;
  rpc.restart();
  late({ code: 4403, reason: "late" });
  assert.equal(rpc.state.name, "connecting");
  rpc.close();
  rpc.close();
  assert.deepEqual(states, ["connecting", "online", "connecting", "closed", "closed"]);
  rpc.open();
  assert.equal(sockets.opened.length, 3);
  rpc.open();
  assert.equal(sockets.opened.length, 3);
});

test("a call hears of parts of its result, and of nobody else's", async () => {
  const { rpc, sockets } = await online();
  const told = [];
  const call = rpc.call("report.make", {}, { progress: (members) => told.push(members) });
  const other = rpc.call("b");
  const [{ id }, { id: otherId }] = sockets.last.sent;
  const notify = (params) => sockets.last.deliver({ jsonrpc: "2.0", method: "rpc.progress", params });
  notify({ id, data: [1, 2] });
  notify({ id, done: 1, total: 2 });
  notify({ id: otherId, data: "of another" });
  notify({ id: 99, data: "of none" });
  notify(null);
  sockets.last.answer(id, "end");
  sockets.last.answer(otherId, 1);
  assert.deepEqual([await call, await other], ["end", 1]);
  notify({ id, data: "late" });
  assert.deepEqual(told, [{ data: [1, 2] }, { done: 1, total: 2 }]);
});

test("a call can be given up, and the server is told", async () => {
  const { rpc, sockets } = await online();
  const stop = new AbortController();
  const call = rpc.call("report.make", {}, { signal: stop.signal });
  const answered = rpc.call("b", {}, { signal: stop.signal });
  const [{ id }, { id: answeredId }] = sockets.last.sent;
  sockets.last.answer(answeredId, 1);
  assert.equal(await answered, 1);
  stop.abort(new Error("enough"));
  await assert.rejects(call, /enough/);
  assert.deepEqual(sockets.last.sent.slice(2), [{ jsonrpc: "2.0", method: "rpc.cancel", params: { id } }]);
  sockets.last.answer(id, "late");
  await assert.rejects(rpc.call("c", {}, { signal: stop.signal }), /enough/);
  assert.equal(sockets.last.sent.length, 3);
});

test("an action tells how far it is, and nothing more once nobody waits", async () => {
  const { rpc, sockets } = await online();
  let tell;
  let finish;
  rpc.answer("weather.today", (params, { progress }) => {
    tell = progress;
    progress({ data: "rain", done: 1, total: 2 });
    return new Promise((resolve) => (finish = resolve));
  });
  sockets.last.deliver({ jsonrpc: "2.0", id: 71, method: "weather.today" });
  await settle();
  assert.deepEqual(sockets.last.sent, [{ jsonrpc: "2.0", method: "rpc.progress", params: { id: 71, data: "rain", done: 1, total: 2 } }]);
  sockets.last.deliver({ jsonrpc: "2.0", method: "rpc.cancel", params: { id: 71 } });
  tell({ done: 2 });
  finish("end");
  await settle();
  assert.deepEqual(sockets.last.sent.slice(1), [{ jsonrpc: "2.0", id: 71, result: "end" }]);
});

test("an action whose outcome is no JSON is answered as an internal error, and reported", async () => {
  const { rpc, sockets } = await online();
  const loop = {};
  loop.itself = loop;
  const outcomes = [() => 1n, () => loop, () => () => 1, () => Promise.reject(new RpcError({ code: -1, message: "no", data: loop })), () => Promise.reject(new Error("bug"))];
  const errors = await reported(async () => {
    for (const outcome of outcomes) {
      rpc.answer("weather.today", outcome);
      sockets.last.deliver({ jsonrpc: "2.0", id: 71, method: "weather.today" });
      await settle();
      assert.deepEqual(sockets.last.sent.at(-1), { jsonrpc: "2.0", id: 71, error: { code: -32603, message: "Internal error" } });
    }
  });
  assert.equal(errors.length, outcomes.length);
  assert.equal(sockets.last.sent.length, outcomes.length);
  assert.equal(errors.at(-1), "bug");
});

test("a part that is no JSON is an error where it is sent", async () => {
  const { rpc, sockets } = await online();
  rpc.answer("weather.today", (params, { progress }) => {
    assert.throws(() => progress({ data: 1n }), TypeError);
    return "end";
  });
  sockets.last.deliver({ jsonrpc: "2.0", id: 71, method: "weather.today" });
  await settle();
  assert.deepEqual(sockets.last.sent, [{ jsonrpc: "2.0", id: 71, result: "end" }]);
});

test("what is given up is not reported when it ends with an error", async () => {
  const { rpc, sockets } = await online();
  rpc.answer("weather.today", (params, { signal }) => new Promise((resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))));
  sockets.last.deliver({ jsonrpc: "2.0", id: 71, method: "weather.today" });
  const errors = await reported(async () => {
    sockets.last.deliver({ jsonrpc: "2.0", method: "rpc.cancel", params: { id: 71 } });
    await settle();
  });
  assert.deepEqual(errors, []);
  assert.equal(sockets.last.sent[0].error.code, -32603);
});

test("a listener that throws is reported, and concerns nobody else", async () => {
  const { rpc, sockets } = await online();
  const told = [];
  const bad = (words) => () => {
    throw new Error(words);
  };
  for (const listener of [bad("on"), (params) => told.push(params)]) rpc.on("chat.event", listener);
  for (const listener of [bad("changed"), ({ name }) => told.push(name)]) rpc.changed.add(listener);
  const call = rpc.call("report.make", {}, { progress: bad("progress") });
  const [{ id }] = sockets.last.sent;
  const messages = [
    { jsonrpc: "2.0", method: "rpc.progress", params: { id, done: 1 } },
    { jsonrpc: "2.0", method: "chat.event", params: 1 },
    { jsonrpc: "2.0", id, result: "end" },
  ];
  const errors = await reported(async () => {
    sockets.last.deliver(messages);
    rpc.close();
  });
  assert.deepEqual([errors, told, await call], [["progress", "on", "changed"], [1, "closed"], "end"]);
});

test("errors are reported as the browser does it where there is one", async () => {
  const told = [];
  const before = globalThis.reportError;
  globalThis.reportError = (error) => told.push(error.message);
  const { rpc, sockets } = await online();
  rpc.on("chat.event", () => {
    throw new Error("on");
  });
  sockets.last.notify("chat.event", {});
  globalThis.reportError = before;
  assert.deepEqual(told, ["on"]);
});

test("without a WebSocket it says what to do", async () => {
  const rpc = new RpcClient({ url: "ws://here/ws", WebSocket: undefined });
  assert.throws(() => rpc.open(), /npm install ws.* option WebSocket/);
  assert.equal(rpc.state.name, "closed");
});

test("an action can wait until its caller has taken what was sent, as long as it has time", async () => {
  const { rpc, sockets, timers } = await online();
  rpc.answer("count.up", async (params, { progress, caughtUp }) => {
    for (const data of [1, 2]) {
      progress({ data });
      assert.equal(await caughtUp(), undefined);
    }
    return "end";
  });
  for (const [deadline, left] of [[3, [3, 2]], [undefined, [20, 20]]]) {
    sockets.last.sent.length = 0;
    sockets.last.deliver({ jsonrpc: "2.0", id: 71, method: "count.up", deadline });
    for (const data of [1, 2]) {
      await settle();
      const [part, asked] = sockets.last.sent.splice(0);
      assert.deepEqual(part, { jsonrpc: "2.0", method: "rpc.progress", params: { id: 71, data } });
      assert.deepEqual([asked.method, asked.params, asked.deadline], ["rpc.progress", { id: 71 }, left[data - 1]]);
      await timers.advance(1);
      assert.deepEqual(sockets.last.sent, []);
      sockets.last.answer(asked.id, null);
    }
    await settle();
    assert.deepEqual(sockets.last.sent, [{ jsonrpc: "2.0", id: 71, result: "end" }]);
  }
});

test("who waits for a caller that is gone is told, in whatever way that shows; an old server is not waited for", async () => {
  const { rpc, sockets, timers } = await online();
  let ended;
  let call;
  rpc.answer("count.up", async (params, asked) => {
    call = asked;
    ended = await asked.caughtUp().catch((error) => error.name);
    return "end";
  });
  const refuse = (code) => () => sockets.last.fail(sockets.last.sent.at(-1).id, code, "no");
  for (const [act, name, aborted] of [
    [refuse(-32003), "AbortError", true],
    [() => sockets.last.deliver({ jsonrpc: "2.0", method: "rpc.cancel", params: { id: 71 } }), "AbortError", true],
    [refuse(-32008), "RpcError", false],
    [refuse(-32601), undefined, false],
    [() => sockets.last.drop(), "AbortError", true],
  ]) {
    ended = "waits";
    sockets.last.deliver({ jsonrpc: "2.0", id: 71, method: "count.up", deadline: 3 });
    await settle();
    assert.equal(ended, "waits");
    act();
    await settle();
    assert.deepEqual([ended, call.signal.aborted], [name, aborted]);
  }
  await timers.advance(1);
  sockets.last.accept();
  await settle();
  await assert.rejects(call.caughtUp(), { name: "AbortError" });
  assert.deepEqual(sockets.last.sent, []);
});

test("a deadline longer than any timer is none that has passed", async () => {
  const sockets = fakeSockets();
  const client = new RpcClient({ url: "ws://here/ws", WebSocket: sockets.FakeSocket });
  client.open();
  sockets.last.accept();
  await settle();
  const answers = [3e6, Infinity].map((deadline) => client.call("slow", {}, { deadline }));
  await new Promise((resolve) => setTimeout(resolve, 20));
  for (const { id, deadline } of sockets.last.sent) sockets.last.answer(id, deadline ?? "the server's");
  assert.deepEqual(await Promise.all(answers), [3e6, "the server's"]);
  client.close();
});
