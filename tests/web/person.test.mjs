import assert from "node:assert/strict";
import { test } from "node:test";

import { answerWith, page, refuseOnce, texts } from "./chatting.mjs";
import { FakeServer, settle } from "./fakes.mjs";

/** A page on a server that knows who signed in; what `fetch` is told counts for the next connection. */
async function shared() {
  const server = new FakeServer();
  const session = { name: "" };
  const fetch = async (path, { body }) => {
    session.name = path === "/login" ? body.get("name") : "";
    return { ok: true };
  };
  server.known = () => session.name;
  const parts = page({ server, fetch });
  const forgotten = [];
  parts.chat.forgotten.add((whose) => forgotten.push([whose, [...parts.chat.rooms.values()].flatMap(({ events }) => events).length]));
  parts.chat.follow("lobby");
  parts.chat.rpc.open();
  await parts.connect();
  const describe = () => Promise.all([...parts.chat.rooms.values()].map((log) => parts.chat.describe(log)));
  await describe();
  const be = async (name) => {
    assert.equal(await (name === "" ? parts.chat.signOut() : parts.chat.signIn(name, "x")), "");
    await parts.connect();
    await describe();
  };
  return { ...parts, session, forgotten, describe, be };
}

test("who signs out takes along what was read, who was there, and what waits to be sent; the next one sees nothing of it", async () => {
  const { chat, server, sockets, storage, forgotten, describe, be } = await shared();
  await be("cara");
  const log = chat.follow("secret");
  server.secret.add("secret");
  server.say("secret", "cara", "the plan");
  await settle();
  answerWith(server, { "chat.rooms": { rooms: [{ name: "secret" }] } });
  await chat.refreshDirectory();
  sockets.last.notify("chat.typing", { room: "secret", from: "eve" });
  refuseOnce(server, sockets, "chat.post", -32002);
  chat.post("secret", "mine alone");
  await settle();
  assert.deepEqual([log.events.length, log.present.count, chat.typists.in("secret"), chat.outbox.of("secret").length], [2, 1, ["eve"], 1]);
  forgotten.length = 0;
  assert.equal(await chat.signOut(), "");
  const nothing = () => [log.events, log.present.names, log.joined, chat.typists.in("secret"), chat.outbox.of("secret"), chat.directory, chat.unread(log).count];
  assert.deepEqual([nothing(), chat.identity], [[[], [], false, [], [], [], 0], null]);
  assert.deepEqual([...chat.rooms.keys()], [], "nor is its name known");
  await (server.accept(sockets.last), settle());
  assert.deepEqual([forgotten, nothing()], [[[null, 0], ["", 0]], [[], [], false, [], [], [], 0]]);
  assert.deepEqual([...chat.rooms.keys()], ["lobby"], "the guest's rooms");
  await be("dan");
  assert.deepEqual([...chat.rooms.keys()], ["lobby"], "which was open");
  assert.ok(![...storage.entries].some(([key, value]) => key.includes("dan") && value.includes("secret")), "nor does dan follow it from now on");
  chat.follow("garden");
  assert.deepEqual([...chat.rooms.keys()], ["lobby", "garden"]);
  assert.ok(!sockets.last.sent.some(({ method }) => method === "chat.post"), "and nothing of cara's is sent as dan");
  await settle();
  await describe();
  await be("cara");
  assert.deepEqual([...chat.rooms.keys()], ["lobby", "secret", "garden"]);
  assert.deepEqual([texts(chat, "secret"), chat.outbox.of("secret").map(({ text }) => text)], [["the plan", "mine alone"], ["mine alone"]]);
});

test("somebody else is noticed on a later connection too, and when nobody is let in; a guest's other name is nobody else", async () => {
  const { chat, server, sockets, session, timers, connect, forgotten, describe, be } = await shared();
  server.say("lobby", "ann", "hello");
  await chat.rename("zoe");
  await connect();
  assert.deepEqual([forgotten, texts(chat)], [[["", 0]], ["hello"]]);
  await be("cara");
  const { cursor } = chat.rooms.get("lobby");
  session.name = "dan"; // in another tab
  sockets.last.drop();
  await timers.advance(1);
  await connect();
  assert.deepEqual([forgotten.at(-1), chat.identity.name, chat.rooms.get("lobby").cursor], [["dan", 0], "dan", cursor]);
  assert.equal(sockets.last.sent.find(({ method }) => method === "chat.join").params.after, undefined, "the log is asked for as by somebody new");
  await describe();
  sockets.last.drop(4401, "signed out elsewhere");
  assert.deepEqual([forgotten.at(-1), texts(chat), chat.identity], [[null, 0], [], null]);
});

test("the room that is open stays for who signs in, if it is open to them", async () => {
  const { chat, server, describe, be } = await shared();
  await be("cara");
  chat.follow("garden");
  await settle();
  await describe();
  await be("dan");
  assert.deepEqual([...chat.rooms.keys()], ["garden"]);
  assert.ok(chat.rooms.get("garden").joined);
  chat.follow("lobby");
  await be("");
  await be("dan");
  assert.deepEqual([...chat.rooms.keys()], ["garden", "lobby"]);
  server.refused = new Set(["garden"]);
  await be("");
  assert.deepEqual([...chat.rooms.keys()], ["lobby"]);
});

test("what one user has read is neither read nor told for the next", async () => {
  const { chat, server, sockets, storage, timers, be } = await shared();
  server.say("lobby", "ann", "one");
  await be("cara");
  chat.follow("lobby");
  await settle();
  server.say("lobby", "ann", "two");
  await settle();
  chat.markSeen(chat.rooms.get("lobby"));
  assert.equal(storage.getItem("user:cara:netsvc.seen.lobby"), "e:2");
  await be("dan");
  await timers.advance(5);
  assert.equal(storage.getItem("user:dan:netsvc.seen.lobby"), "e:2", "the first visit: nothing is new");
  server.say("lobby", "ann", "three");
  await settle();
  assert.equal(chat.unread(chat.rooms.get("lobby")).count, 1);
  await be("cara");
  assert.equal(chat.unread(chat.rooms.get("lobby")).count, 1, "where she was");
  await timers.advance(5);
  assert.deepEqual(sockets.last.sent.filter(({ method }) => method === "chat.mark_read").map(({ params }) => params), [{ room: "lobby", seq: 2 }]);
});

test("who comes is told which rooms they have followed here, and keeps the one that is open if they followed it", async () => {
  const { chat, server, be } = await shared();
  const followed = [];
  chat.forgotten.add((whose, names) => followed.push([whose, ...names]));
  await be("cara");
  chat.follow("garden");
  await settle();
  await be("");
  await be("cara");
  assert.deepEqual(followed, [[null], ["cara"], [null], ["", "lobby"], [null], ["cara", "lobby", "garden"]]);
  chat.follow("lobby");
  await be("");
  server.refused = new Set(["lobby"]);
  await be("cara");
  chat.follow("garden");
  assert.deepEqual([...chat.rooms.keys()], ["lobby", "garden"], "though it is not there at the moment");
});
