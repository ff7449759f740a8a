/** A chat on a server in memory, and ways of answering it otherwise. */

import assert from "node:assert/strict";

import { Chat } from "../../netsvc/web/client/chat.js";
import { fakeSockets, FakeServer, FakeStorage, FakeTimers, settle } from "./fakes.mjs";

let keys = 0;

/** A page's chat on a server in memory; `connect` lets the newest socket through. */
export function page({ server = new FakeServer(), storage = new FakeStorage(), timers = new FakeTimers(), fetch } = {}) {
  const sockets = fakeSockets();
  const rpc = { WebSocket: sockets.FakeSocket, timers, random: () => 0.5 };
  const outbox = { now: () => timers.now() * 1000, newKey: () => `key-${(keys += 1)}` };
  const chat = new Chat({ url: "ws://here/ws", storage, fetch, after: timers.after, rpc, outbox });
  const connect = async () => {
    server.accept(sockets.last);
    await settle();
  };
  return { chat, server, storage, timers, sockets, connect };
}

/** The same, connected, with one room. */
export async function online(options = {}) {
  const parts = page(options);
  parts.chat.follow("lobby");
  parts.chat.rpc.open();
  await parts.connect();
  assert.equal(parts.chat.rpc.state.name, "online");
  return parts;
}

/** What the messages of a room say. */
export const texts = (chat, room = "lobby") => chat.rooms.get(room).events.map(({ text }) => text);

/** The next call is answered with this error instead. */
export function refuseOnce(server, sockets, method, code, data) {
  server.swallow = (asked, socket) => {
    if (asked !== method) return false;
    server.swallow = () => false;
    socket.fail(socket.sent.at(-1).id, code, "no", data);
    return true;
  };
}

/** These methods are answered with these results. */
export function answerWith(server, results) {
  server.swallow = (method, socket) => {
    if (!(method in results)) return false;
    socket.answer(socket.sent.at(-1).id, results[method]);
    return true;
  };
}
