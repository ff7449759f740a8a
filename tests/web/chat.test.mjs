import assert from "node:assert/strict";
import { test } from "node:test";

import { answerWith, online, page, refuseOnce, texts } from "./chatting.mjs";
import { FakeServer, FakeStorage, FakeTimers, settle } from "./fakes.mjs";

test("a guest keeps the name that was given, on every later connection", async () => {
  const { chat, storage, sockets, timers, connect } = await online();
  assert.deepEqual(chat.identity, { name: "guest-1", roles: ["guest"], guest: true });
  sockets.last.drop();
  await timers.advance(1);
  await connect();
  assert.equal(chat.identity.name, "guest-1");
  assert.equal(storage.getItem("netsvc.guest"), "guest-1");
});

test("a name that is refused on return is said, and the given one is used", async () => {
  const { chat, server, sockets, storage, timers, connect } = await online();
  storage.setItem("netsvc.guest", "alice");
  sockets.last.drop();
  await timers.advance(1);
  refuseOnce(server, sockets, "auth.login", -32004, { detail: "the name is taken" });
  await connect();
  assert.deepEqual([chat.identity.name, chat.nameProblem], ["guest-2", "The name is taken."]);
});

test("renaming asks first, then comes back under the new name", async () => {
  const { chat, server, sockets, connect } = await online();
  refuseOnce(server, sockets, "auth.login", -32004);
  await assert.rejects(chat.rename("alice"));
  assert.equal(chat.rpc.state.name, "online");
  await chat.rename("zoe");
  await connect();
  assert.equal(chat.identity.name, "zoe");
});

test("without guests the page is refused until somebody signs in", async () => {
  const asked = [];
  const answers = [{ ok: false, status: 401 }, { ok: false, status: 429, headers: new Map([["Retry-After", "9"]]) }, { ok: false, status: 500 }];
  const fetch = async (path, { body }) => {
    asked.push([path, String(body)]);
    if (answers.length === 0) throw new TypeError("network");
    return answers.shift();
  };
  const { chat, server, sockets, connect } = page({ fetch });
  refuseOnce(server, sockets, "auth.whoami", -32001);
  chat.rpc.open();
  await connect();
  assert.equal(chat.rpc.state.code, 4401);
  assert.match(await chat.signIn("ann", "a b&c"), /wrong name or password/i);
  assert.match(await chat.signIn("ann", "x"), /in 9 s/);
  assert.match(await chat.signIn("ann", "x"), /500/);
  assert.match(await chat.signIn("ann", "x"), /cannot be reached/);
  assert.deepEqual(asked[0], ["/login", "name=ann&password=a+b%26c"]);
  answers.push({ ok: true });
  assert.equal(await chat.signIn("ann", "x"), "");
  assert.equal(chat.rpc.state.name, "connecting");
  answers.push({ ok: true });
  assert.equal(await chat.signOut(), "");
  assert.equal(asked.at(-1)[0], "/logout");
});

test("a room shows its last messages, then what arrives, each once", async () => {
  const server = new FakeServer();
  for (let i = 1; i <= 70; i += 1) server.say("lobby", "ann", `m${i}`);
  const { chat } = await online({ server });
  assert.deepEqual([texts(chat).length, texts(chat)[0]], [50, "m21"]);
  server.say("lobby", "ann", "live");
  await settle();
  assert.equal(texts(chat).at(-1), "live");
  await chat.older(chat.rooms.get("lobby"));
  assert.deepEqual([texts(chat).length, chat.rooms.get("lobby").hasOlder], [71, false]);
});

test("after an outage nothing is missing, nothing doubled, however much was missed", async () => {
  const { chat, server, sockets, timers, connect } = await online();
  server.say("lobby", "ann", "before");
  await settle();
  sockets.last.drop();
  for (let i = 1; i <= 450; i += 1) server.say("lobby", "ann", `missed ${i}`);
  await timers.advance(1);
  await connect();
  assert.deepEqual(texts(chat), ["before", ...Array.from({ length: 450 }, (_, i) => `missed ${i + 1}`)]);
});

test("a message whose answer was lost is in the room once", async () => {
  const { chat, server, sockets, timers, connect } = await online();
  server.swallow = (method) => method === "chat.post" && (sockets.last.drop(), true);
  chat.post("lobby", "once");
  await settle();
  assert.equal(chat.outbox.of("lobby").length, 1);
  server.swallow = () => false;
  await timers.advance(1);
  await connect();
  assert.deepEqual([texts(chat), chat.outbox.of("lobby")], [["once"], []]);
});

test("a room followed while the greeting is under way is joined too", async () => {
  const { chat, server, sockets, connect } = page();
  chat.follow("lobby");
  chat.rpc.open();
  server.swallow = (method) => {
    if (method === "auth.whoami") chat.follow("early");
    if (method === "chat.join" && !chat.rooms.has("late")) chat.follow("late");
    return false;
  };
  await connect();
  assert.ok(["lobby", "early", "late"].every((name) => chat.rooms.get(name).joined));
  assert.equal(sockets.last.sent.filter(({ method }) => method === "chat.join").length, 3);
});

test("a room that cannot be joined says why; if that passes by itself it is joined later", async () => {
  const { chat, server, sockets, timers } = await online();
  refuseOnce(server, sockets, "chat.join", -32002, { detail: "members only" });
  chat.follow("secret");
  await settle();
  assert.equal(chat.rooms.get("secret").problem, "Members only.");
  refuseOnce(server, sockets, "chat.join", -32008, { retry_after: 4 });
  chat.follow("busy");
  await settle();
  assert.ok(!chat.rooms.get("busy").joined);
  await timers.advance(4);
  assert.deepEqual([chat.rooms.get("busy").joined, chat.rooms.get("busy").problem], [true, ""]);
});

test("the rooms that are followed are remembered, the least visited let go beyond twelve", async () => {
  const { chat, storage, sockets } = await online();
  for (let i = 1; i <= 12; i += 1) chat.follow(`room-${i}`);
  await settle();
  assert.deepEqual([chat.rooms.size, chat.rooms.has("lobby")], [12, false]);
  assert.ok(sockets.last.sent.some(({ method, params }) => method === "chat.leave" && params.room === "lobby"));
  chat.leave("room-5");
  chat.leave("never followed");
  const later = async () => {
    const { chat: other, connect } = page({ storage });
    other.rpc.open();
    await connect();
    return [...other.rooms.keys()];
  };
  assert.deepEqual(await later(), [...chat.rooms.keys()]);
  for (const broken of ["{", "7"]) {
    storage.setItem("netsvc.rooms", broken);
    assert.deepEqual(await later(), []);
  }
});

test("unread is what others wrote since somebody looked, also across a reload", async () => {
  const { chat, server, storage } = await online();
  const log = chat.rooms.get("lobby");
  assert.deepEqual(chat.unread(log), { count: 0, mentions: 0, more: false });
  server.say("lobby", "ann", "one");
  server.say("lobby", chat.identity.name, "mine");
  server.say("lobby", "bob", "two");
  await settle();
  assert.deepEqual(chat.unread(log), { count: 2, mentions: 0, more: false });
  const reloaded = await online({ server, storage });
  assert.deepEqual(reloaded.chat.unread(reloaded.chat.rooms.get("lobby")).count, 2);
  chat.markSeen(log);
  assert.deepEqual(chat.unread(log), { count: 0, mentions: 0, more: false });
  for (let i = 0; i < 60; i += 1) server.say("lobby", "ann", `more ${i}`);
  const later = await online({ server, storage });
  assert.deepEqual(later.chat.unread(later.chat.rooms.get("lobby")), { count: 50, mentions: 0, more: true });
});

test("presence, gaps and the list of rooms arrive where they belong", async () => {
  const { chat, server, sockets } = await online();
  const log = chat.rooms.get("lobby");
  sockets.last.notify("chat.presence", { room: "lobby", joined: ["zoe"], left: [], count: 2 });
  assert.deepEqual(log.present.names, ["guest-1", "zoe"]);
  sockets.last.notify("chat.presence", { room: "unknown", joined: ["zoe"], left: [], count: 2 });
  sockets.last.notify("chat.gap", { room: "lobby", from: 1, to: 3 });
  assert.ok(log.hasNewer);
  sockets.last.notify("chat.event", { room: "unknown", seq: 1 });
  answerWith(server, { "chat.rooms": { rooms: [{ name: "garden", count: 1 }] }, "chat.who": { count: 1, names: ["ann"] } });
  await chat.refreshDirectory();
  await chat.refreshPresent(log);
  assert.deepEqual([chat.directory[0].name, log.present.names], ["garden", ["ann"]]);
  chat.rpc.close();
  await chat.refreshDirectory();
  await chat.refreshPresent(log);
});

test("messages that replies quote are looked up together, and again when the server was busy or away", async () => {
  const server = new FakeServer();
  for (let i = 1; i <= 400; i += 1) server.say("lobby", "ann", `m${i}`);
  const { chat, sockets, timers, connect } = await online({ server });
  const log = chat.rooms.get("lobby");
  const asked = () => sockets.opened.flatMap(({ sent }) => sent).filter(({ method }) => method === "chat.history").length;
  await Promise.all([chat.quote(log, 20), chat.quote(log, 19), chat.quote(log, 12), chat.quote(log, 200)]);
  assert.deepEqual([20, 19, 12, 200].map((seq) => log.find(seq).text), ["m20", "m19", "m12", "m200"]);
  assert.equal(asked(), 2);
  refuseOnce(server, sockets, "chat.history", -32005, { retry_after: 2 });
  await assert.rejects(chat.quote(log, 100));
  await timers.advance(3);
  assert.equal(log.find(100).text, "m100");
  sockets.last.drop();
  await chat.quote(log, 50);
  assert.equal(log.find(50), undefined);
  await timers.advance(1);
  await connect();
  await timers.advance(1);
  assert.equal(log.find(50).text, "m50");
});

test("a room that is taken away says why, and is asked for again when it is followed again", async () => {
  const { chat, sockets } = await online();
  const log = chat.rooms.get("lobby");
  const left = [];
  chat.left.add((...told) => left.push(told));
  sockets.last.notify("chat.left", { room: "lobby", reason: "ban" });
  sockets.last.notify("chat.left", { room: "unknown", reason: "ban" });
  assert.deepEqual([left, log.joined, log.problem], [[["lobby", "ban"]], false, "You are banned from this room."]);
  chat.follow("lobby");
  await settle();
  assert.deepEqual([log.joined, log.problem], [true, ""]);
});

test("the place that was asked for last is shown, in whatever order the pages come", async () => {
  const server = new FakeServer();
  for (let i = 1; i <= 300; i += 1) server.say("lobby", "ann", `m${i}`);
  const { chat, sockets } = await online({ server });
  const log = chat.rooms.get("lobby");
  server.swallow = (method) => method === "chat.history";
  const held = (from) => sockets.last.sent.filter(({ method }) => method === "chat.history").slice(from).reverse();
  const answer = ({ id, params }) => {
    const before = params.before === undefined ? Infinity : Number(params.before.split(":")[1]);
    const events = server.logs.get("lobby").filter(({ seq }) => seq < before).slice(-params.limit);
    sockets.last.answer(id, { events, cursor: "e:300", more: true, recovered: true });
    return settle();
  };
  const shown = () => [log.events[0].seq, log.events.at(-1).seq, log.gaps.length];
  const jumps = [chat.around(log, 20), chat.older(log), chat.around(log, 150)];
  await settle();
  for (const call of held(0)) await answer(call);
  assert.deepEqual([await Promise.all(jumps), shown()], [[false, undefined, true], [111, 190, 0]]);
  const again = [chat.around(log, 20), chat.latest(log), chat.around(log, 20)];
  await settle();
  for (const call of held(3)) await answer(call);
  assert.deepEqual([await Promise.all(again), shown()], [[true, undefined, true], [1, 60, 0]]);
});

test("one page of a kind is asked for at a time; newest page and gap are loaded on demand", async () => {
  const server = new FakeServer();
  for (let i = 1; i <= 300; i += 1) server.say("lobby", "ann", `m${i}`);
  const { chat, sockets } = await online({ server });
  const log = chat.rooms.get("lobby");
  const asked = () => sockets.last.sent.filter(({ method }) => method === "chat.history").length;
  const both = Promise.all([chat.older(log), chat.older(log)]);
  assert.ok(chat.isPaging(log, "older"));
  await both;
  assert.deepEqual([asked(), chat.isPaging(log, "older"), texts(chat).length], [1, false, 250]);
  await chat.latest(log);
  assert.equal(texts(chat).length, 200);
  log.skip({ to: 300 });
  server.say("lobby", "ann", "m301");
  await settle();
  await chat.newer(log);
  log.join({ events: server.logs.get("lobby").slice(-1), cursor: "e:301", more: true, recovered: true }, null);
  await chat.older(log);
  log.addNewer({ events: [], cursor: "e:301", more: false, recovered: true });
  log.join({ events: server.logs.get("lobby").slice(-1), cursor: "e:301", more: true, recovered: false }, null);
  await chat.latest(log);
  assert.deepEqual([texts(chat).length, log.gaps], [200, []]);
});

/** A small generator of numbers in [0, 1), the same for the same seed (mulberry32). */
function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test("whatever breaks and whenever, every message is in the log once, in order, on every page", async () => {
  for (let seed = 1; seed <= 30; seed += 1) await disturb(seeded(seed), `seed ${seed}`);
});

/** Two pages talk while connections, answers and pages die at random; then all calms down. */
async function disturb(random, label) {
  const server = new FakeServer();
  const timers = new FakeTimers();
  const options = { server, timers };
  const pages = [await online(options), await online(options)];
  const typed = [];
  let losing = false;
  server.swallow = (method, socket) => losing && random() < 0.2 && (socket.drop(), true);
  for (let step = 0; step < 60; step += 1) {
    losing = true;
    const which = random() < 0.5 ? 0 : 1;
    const { chat, sockets, storage } = pages[which];
    const dice = random();
    if (dice < 0.5) {
      typed.push(`message ${step}`);
      chat.post("lobby", `message ${step}`);
    } else if (dice < 0.65) sockets.last.drop();
    else if (dice < 0.75) {
      chat.rpc.close(); // the page is reloaded
      pages[which] = page({ ...options, storage });
      pages[which].chat.follow("lobby");
      pages[which].chat.rpc.open();
    }
    if (random() < 0.5) await timers.advance(random() * 3);
    for (const { sockets: { last } } of pages) if (last.readyState === 0 && !last.closed) server.accept(last);
    if (random() < 0.7) await settle();
  }
  losing = false;
  for (let i = 0; i < 20; i += 1) {
    await timers.advance(5);
    for (const { sockets: { last } } of pages) if (last.readyState === 0 && !last.closed) server.accept(last);
  }
  const logged = (server.logs.get("lobby") ?? []).map(({ text }) => text);
  assert.deepEqual([...logged].sort(), [...typed].sort(), `${label}: each message once`);
  for (const { chat } of pages) {
    assert.deepEqual(texts(chat), logged, `${label}: the page shows the log`);
    assert.deepEqual(chat.outbox.of("lobby"), [], `${label}: nothing is left`);
  }
}

test("who waits for a condition that throws is told, now or later, and once", async () => {
  const { chat } = page();
  let looked = 0;
  const condition = () => {
    if ((looked += 1) > 1) throw new Error("no such thing");
    return false;
  };
  const waiting = chat.until(condition);
  chat.changed.emit("rooms");
  chat.changed.emit("rooms");
  await assert.rejects(waiting, /no such thing/);
  assert.equal(looked, 2);
  await assert.rejects(chat.until(condition), /no such thing/);
  chat.changed.emit("rooms");
  assert.equal(looked, 3);
});

test("of a room that one is sent out of, or not let into again, nothing stays", async () => {
  const { chat, server, sockets, timers, connect } = await online();
  server.say("lobby", "ann", "for members");
  await settle();
  const log = chat.rooms.get("lobby");
  sockets.last.notify("chat.typing", { room: "lobby", from: "eve" });
  sockets.last.notify("chat.left", { room: "lobby", reason: "kick" });
  assert.deepEqual([log.events, log.present.count, log.cursor, chat.typists.in("lobby")], [[], 0, null, []]);
  server.say("lobby", "ann", "sent before it");
  await settle();
  assert.deepEqual(log.events, []);
  server.logs.get("lobby").pop();
  chat.follow("lobby");
  await settle();
  assert.deepEqual(texts(chat), ["for members"]);
  sockets.last.drop();
  refuseOnce(server, sockets, "chat.join", -32002);
  const left = [];
  chat.left.add((...told) => left.push(told));
  await timers.advance(1);
  await connect();
  assert.deepEqual([log.events, log.joined, left], [[], false, [["lobby", "access"]]]);
});

test("a badge goes with the message that it counted", async () => {
  const { chat, server, sockets } = await online();
  chat.follow("side");
  await settle();
  server.say("side", "bob", "@guest-1 oops");
  await settle();
  const log = chat.rooms.get("side");
  assert.deepEqual(chat.unread(log), { count: 1, mentions: 1, more: false });
  sockets.last.notify("chat.event", { room: "side", seq: 2, cursor: "e:2", type: "delete", from: "bob", at: "2026-01-01T00:00:00.000Z", target: 1 });
  assert.deepEqual(chat.unread(log), { count: 0, mentions: 0, more: false });
});
