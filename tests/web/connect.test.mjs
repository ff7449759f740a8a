import assert from "node:assert/strict";
import { test } from "node:test";

import { connect, ConnectionLost, provide, Refused, RpcError } from "../../netsvc/web/client/index.js";
import { fakeSockets, FakeTimers, reported, settle } from "./fakes.mjs";

function start(credentials = {}) {
  const sockets = fakeSockets();
  const timers = new FakeTimers();
  const connecting = connect({ url: "ws://here/ws", WebSocket: sockets.FakeSocket, timers, random: () => 0.5, ...credentials });
  return { sockets, timers, connecting };
}

/** Let the handshake pass and answer the greeting. */
async function greeted(sockets) {
  sockets.last.accept();
  await settle();
  sockets.last.answer(sockets.last.sent.at(-1).id, {});
  await settle();
}

test("it logs in with what it was given, on every connection", async () => {
  for (const [credentials, method, params] of [
    [{ token: "t" }, "auth.login", { token: "t" }],
    [{ name: "ann" }, "auth.login", { name: "ann" }],
    [{ name: "ann", password: "p" }, "auth.login", { name: "ann", password: "p" }],
    [{}, "auth.whoami", {}],
  ]) {
    const { sockets, timers, connecting } = start(credentials);
    await greeted(sockets);
    const client = await connecting;
    sockets.last.drop();
    await timers.advance(1);
    await greeted(sockets);
    assert.equal(client.state.name, "online");
    for (const { sent } of sockets.opened) assert.deepEqual([sent[0].method, sent[0].params], [method, params]);
    client.close();
  }
});

test("bad credentials reject, another error is tried again", async () => {
  const { sockets, connecting } = start({ token: "t" });
  sockets.last.accept();
  sockets.last.fail(sockets.last.sent[0].id, -32001, "not authenticated", { detail: "no such token" });
  await assert.rejects(connecting, (error) => error instanceof Refused && error.message === "no such token");
  for (const code of [-32002, -32004, -32602]) {
    const { sockets, timers, connecting } = start({ name: "ann" });
    sockets.last.accept();
    sockets.last.fail(sockets.last.sent[0].id, code, "no", { detail: "the name ann belongs to a user" });
    await assert.rejects(connecting, (error) => error instanceof Refused && error.message === "the name ann belongs to a user");
    await timers.advance(60);
    assert.equal(sockets.opened.length, 1);
  }
  const again = start();
  again.sockets.last.accept();
  again.sockets.last.fail(again.sockets.last.sent[0].id, -32008, "overloaded");
  await again.timers.advance(1);
  await greeted(again.sockets);
  (await again.connecting).close();
});

test("what is provided is answered, announced again after a loss, and withdrawn", async () => {
  const { sockets, timers, connecting } = start();
  await greeted(sockets);
  const client = await connecting;
  const providing = provide(client, "text.up", async ({ text }, { deadline }) => {
    if (text === "refuse") throw new RpcError({ code: -32003, message: "no", data: { detail: "gone" } });
    if (text === "break") throw new Error("a secret");
    return [text.toUpperCase(), deadline];
  }, { summary: "up" });
  assert.deepEqual(sockets.last.sent.at(-1).params, { name: "text.up", schema: { summary: "up" } });
  sockets.last.answer(sockets.last.sent.at(-1).id, {});
  const withdraw = await providing;
  const ask = async (id, text) => {
    sockets.last.deliver({ jsonrpc: "2.0", id, method: "text.up", params: { text }, deadline: 3 });
    await settle();
    return sockets.last.sent.at(-1);
  };
  assert.deepEqual(await ask("a", "x"), { jsonrpc: "2.0", id: "a", result: ["X", 3] });
  assert.deepEqual(await ask("b", "refuse"), { jsonrpc: "2.0", id: "b", error: { code: -32003, message: "no", data: { detail: "gone" } } });
  const errors = await reported(async () => {
    assert.deepEqual(await ask("c", "break"), { jsonrpc: "2.0", id: "c", error: { code: -32603, message: "Internal error" } });
  });
  assert.deepEqual(errors, ["a secret"]);
  sockets.last.drop();
  await timers.advance(1);
  await greeted(sockets);
  assert.equal(sockets.last.sent.at(-1).method, "rpc.provide");
  const end = withdraw();
  sockets.last.answer(sockets.last.sent.at(-1).id, {});
  await end;
  assert.equal((await ask("d", "x")).error.code, -32601);
});

test("who may not provide is told, and nothing is answered", async () => {
  const { sockets, connecting } = start();
  await greeted(sockets);
  const providing = provide(await connecting, "a.b", () => 1);
  sockets.last.fail(sockets.last.sent.at(-1).id, -32002, "forbidden");
  await assert.rejects(providing, RpcError);
  sockets.last.deliver({ jsonrpc: "2.0", id: 1, method: "a.b" });
  await settle();
  assert.equal(sockets.last.sent.at(-1).error.code, -32601);
});

test("an answer that nobody waits for any more is told so, also when the connection is lost", async () => {
  const { sockets, connecting } = start();
  await greeted(sockets);
  const client = await connecting;
  const aborted = [];
  client.answer("slow", (params, { signal }) => new Promise(() => signal.addEventListener("abort", () => aborted.push(params))));
  sockets.last.deliver({ jsonrpc: "2.0", id: 7, method: "slow", params: "cancelled" });
  sockets.last.deliver({ jsonrpc: "2.0", id: 8, method: "slow", params: "lost" });
  await settle();
  sockets.last.notify("rpc.cancel", { id: 7 });
  const call = client.call("anything");
  sockets.last.drop();
  await assert.rejects(call, ConnectionLost);
  assert.deepEqual(aborted, ["cancelled", "lost"]);
  client.close();
});

test("without a WebSocket connecting is rejected, with what to do", async () => {
  await assert.rejects(connect({ url: "ws://here/ws", WebSocket: undefined }), /npm install ws/);
});
