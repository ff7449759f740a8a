/**
 * The chat as the page sees it: who I am, the rooms I follow, what is under way. No DOM.
 *
 * Everything here survives a lost connection: on a new one it logs in again as the same person, sends what is waiting in the outbox
 * and joins each room from the cursor it has, so that the log continues exactly where it stopped.
 */

import { Account } from "./account.js";
import { readDirectory } from "./directory.js";
import { readFollowed, writeFollowed } from "./followed.js";
import { Outbox } from "./outbox.js";
import { Quotes } from "./quotes.js";
import { ReadMarks } from "./read-marks.js";
import { RoomLog } from "./rooms.js";
import { ConnectionLost, RpcClient, RpcError } from "./rpc.js";
import { Signal } from "./signal.js";
import { PersonalStorage, SafeStorage } from "./storage.js";
import { Typists } from "./typists.js";
import { CODE, inWords, isPassing, judgePost, leftInWords, retryAfter } from "./words.js";

const FIRST_PAGE = 50;
const PAGE = 200;
const RESUME_PAGE = 200;
/** How many messages are loaded before and after one that is jumped to. */
const AROUND = 40;
/** More rooms than this are not followed at once; the one not visited for longest is dropped. */
const MOST_ROOMS = 12;
const MOST_ROSTER = 2000;

function afterSeconds(seconds, action) {
  return setTimeout(action, seconds * 1000);
}

export class Chat {
  /** Emits ("identity" | "connection" | "rooms" | "directory" | "room" | "typing", room?) after a change. */
  changed = new Signal();
  /** Emits (room, event) for each event that arrives live; not for history. */
  arrived = new Signal();
  /** Emits (room, reason) when the server has removed us from a room, or no longer lets us in. */
  left = new Signal();
  /**
   * Emits (whose, followed) when the user changes, after everything that the previous one knew was dropped: the name of the user,
   * "" for a guest, null until the next connection says who it is; and the names of the rooms that the new user has followed here
   * before, the last one visited last. A guest who takes another name is still the same user.
   */
  forgotten = new Signal();
  /** @type {Map<string, RoomLog>} the rooms that are followed */
  rooms = new Map();
  /** @type {{name: string, count?: number, at?: string}[]} the rooms that the server has */
  directory = [];
  /** True if the server has more rooms than we asked for. */
  directoryCut = false;

  /** What each user keeps for the next visit. */
  #own;
  /** The room that was open when the user changed, until it is known to be open to the new user, too; or "". */
  #lent = "";
  #after;
  #paging = new Set();
  #quotes;
  /** Events of rooms whose join has not been answered yet; they belong after the answer. */
  #early = new WeakMap();
  /** True while this connection is logged in, so that a room may be joined on it. */
  #admitted = false;

  /**
   * @param {object} options
   * @param {string} options.url of the WebSocket
   * @param {import("./storage.js").SafeStorage} [options.storage] what is to survive the program: what waits to be sent, what was read
   * @param {string} [options.token] of an account; without one the browser's session counts, or one is a guest
   * @param {typeof fetch} [options.fetch]
   * @param {string} [options.origin] of the server's URLs; "" is where the page came from
   * @param {(seconds: number, action: () => void) => any} [options.after]
   * @param {object} [options.rpc] further options of RpcClient
   * @param {object} [options.outbox] further options of Outbox
   */
  constructor({ url, storage = new SafeStorage(() => null), token, origin, fetch = globalThis.fetch.bind(globalThis), after = afterSeconds, ...parts }) {
    this.#own = new PersonalStorage(storage);
    this.#after = after;
    this.account = new Account({ storage, fetch, origin, token });
    this.outbox = new Outbox({ storage, judge: judgePost, after, ...parts.outbox });
    this.outbox.changed.add((room) => this.changed.emit("room", room));
    this.rpc = new RpcClient({ url, greet: () => this.#greet(), ...parts.rpc });
    const now = parts.rpc?.timers?.now ?? (() => Date.now() / 1000);
    const call = (method, params) => this.rpc.call(method, params);
    this.marks = new ReadMarks({ storage: this.#own, call, after, me: () => this.identity?.name ?? "", logs: () => this.rooms.values() });
    this.marks.changed.add(() => this.changed.emit("rooms"));
    this.typists = new Typists({ now, after, tell: (room) => call("chat.typing", { room }).catch(() => {}) }); // no loss
    this.typists.changed.add((room) => this.changed.emit("typing", room));
    const page = (log, params, apply) => this.#page(log, "quotes", params, apply);
    this.#quotes = new Quotes({ page, after, isOnline: () => this.rpc.state.name === "online" });
    this.#listen();
  }

  #listen() {
    const { rpc } = this;
    rpc.changed.add(({ name, code }) => {
      if (name === "refused" && code === 4401) this.#belongTo(null);
      if (name !== "online") {
        this.#admitted = false;
        this.outbox.disconnected();
      } else for (const log of this.rooms.values()) this.#quotes.lookAgain(log);
      this.changed.emit("connection");
    });
    rpc.on("chat.event", (event) => this.#take(event));
    rpc.on("chat.gap", (gap) => this.#inRoom(gap.room, (log) => log.skip(gap)));
    rpc.on("chat.presence", (change) => this.#inRoom(change.room, (log) => log.moved(change)));
    rpc.on("chat.typing", (notice) => this.typists.take(notice));
    rpc.on("chat.left", ({ room, reason }) => this.#lost(room, reason));
  }

  /** @returns {import("./account.js").Identity | null} */
  get identity() {
    return this.account.identity;
  }

  /** Why the guest name that was asked for is not ours; "" if it is. */
  get nameProblem() {
    return this.account.nameProblem;
  }

  /**
   * @param {() => any} condition looked at now and after every change
   * @returns {Promise<any>} its value, once that is true; rejects with what it throws
   */
  until(condition) {
    return new Promise((resolve, reject) => {
      let end = () => {};
      const look = () => {
        try {
          const value = condition();
          if (!value) return;
          resolve(value);
        } catch (error) {
          reject(error);
        }
        end();
      };
      end = this.changed.add(look);
      look();
    });
  }

  /** Follow a room from now on, as the one visited last. */
  follow(name) {
    if (this.#lent !== "" && this.#lent !== name) this.leave(this.#lent);
    const log = this.rooms.get(name) ?? new RoomLog(name);
    const known = this.rooms.delete(name);
    this.rooms.set(name, log);
    while (this.rooms.size > MOST_ROOMS) this.leave(this.rooms.keys().next().value);
    this.#writeList();
    // One that was taken away is asked for again. A lost connection joins again by itself.
    if (this.#admitted && (!known || !log.joined) && !this.#early.has(log)) this.#join(log).catch(() => {});
    this.changed.emit("rooms");
    return log;
  }

  /** Stop following a room. */
  leave(name) {
    if (!this.rooms.delete(name)) return;
    if (this.#lent === name) this.#lent = "";
    this.marks.forget(name);
    this.#writeList();
    this.rpc.call("chat.leave", { room: name }).catch(() => {});
    this.changed.emit("rooms");
  }

  /**
   * Say something; it is kept until it is in the log, whatever happens to connection, server and page.
   *
   * @param {string} room
   * @param {string} text
   * @param {{replyTo?: number}} [options] the seq of a message that it answers
   */
  post(room, text, { replyTo = 0 } = {}) {
    this.typists.wrote(room);
    return this.outbox.add(room, text, this.account.author, replyTo);
  }

  /** Change what a message says; rejects like a call. */
  edit(room, seq, text) {
    return this.rpc.call("chat.edit", { room, seq, text });
  }

  /** Take a message back for everybody. */
  remove(room, seq) {
    return this.rpc.call("chat.delete", { room, seq });
  }

  /** React to a message with an emoji, or take the reaction back. */
  react(room, seq, emoji, on) {
    return this.rpc.call("chat.react", { room, seq, emoji, on });
  }

  /**
   * Find messages.
   *
   * @param {string} query words, "phrases", from:name in:room before:date
   * @param {{room?: string, limit?: number, before?: string}} [options]
   */
  search(query, options = {}) {
    return this.rpc.call("chat.search", { query, ...options });
  }

  /** Load the page before the window. One at a time; rejects like a call. */
  older(log) {
    return this.#page(log, "older", { before: log.oldestCursor }, (page, asOf) => log.addOlder(page, asOf));
  }

  /** Load the page after the window. */
  newer(log) {
    return this.#page(log, "newer", { after: log.newestCursor }, (page, asOf) => log.addNewer(page, asOf));
  }

  /** Put the newest page in place of the window. */
  latest(log) {
    log.sought = "latest";
    return this.#page(log, "latest", {}, (page, asOf) => log.showLatest(page, asOf));
  }

  /** Put the part of the log around a message in place of the window; resolves to false if there is no such message, rejects like a call. */
  async around(log, seq) {
    const kind = (log.sought = `around ${seq}`);
    if (log.has(seq)) return true;
    if (this.rpc.state.name !== "online") throw new ConnectionLost("not connected");
    if (this.isPaging(log, kind)) {
      await this.until(() => !this.isPaging(log, kind));
      return log.has(seq);
    }
    const params = { before: log.cursorAround(seq, AROUND), limit: 2 * AROUND };
    await this.#page(log, kind, params, (page, asOf) => page.events.some((event) => event.seq === seq) && log.showAround(page, asOf));
    return log.has(seq);
  }

  /** Look a message up that is not in the window, for a reply that quotes it. */
  quote(log, seq) {
    return this.#quotes.look(log, seq);
  }

  /** Load the last part of a gap. */
  fill(log, gap) {
    return this.#page(log, `gap-${gap.from}`, { before: log.cursorAfter(gap) }, (page, asOf) => log.fill(gap, page, asOf));
  }

  /** True while a page of that kind is on its way. */
  isPaging(log, kind) {
    return this.#paging.has(`${log.name} ${kind}`);
  }

  /** Ask which rooms the server has, page after page. */
  async refreshDirectory() {
    if (this.rpc.state.name !== "online") return;
    const { rooms, cut } = await readDirectory((params) => this.rpc.call("chat.rooms", params));
    this.directory = rooms;
    this.directoryCut = cut;
    this.changed.emit("directory");
  }

  /** Ask for the properties of a room, and what I may do there. */
  async describe(log) {
    if (this.rpc.state.name !== "online" || !log.joined) return;
    log.described = true;
    try {
      log.info = await this.rpc.call("room.info", { room: log.name });
      log.topic = log.info.topic;
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      log.info = null; // nothing has been written there yet, or this server does not support it
    }
    this.changed.emit("room", log.name);
  }

  /**
   * Ask who has a role in a room: owners, moderators, members; moderators also see who is muted or banned.
   *
   * @returns {Promise<{name: string, role?: string, guest?: boolean, muted?: boolean, banned?: boolean, until?: string}[]>}
   */
  async roster(log) {
    const found = [];
    for (let more = log.info !== null; more && found.length < MOST_ROSTER; ) {
      const page = await this.moderate("members", { room: log.name, after: found.at(-1)?.name ?? "" });
      found.push(...page.members);
      more = page.more && page.members.length > 0;
    }
    return found;
  }

  /** Change a room or somebody's role in it: `room.set`, `room.invite`, `room.ban` and so on. */
  moderate(action, params) {
    return this.rpc.call(`room.${action}`, params);
  }

  /** Ask who is in a room. */
  async refreshPresent(log) {
    if (this.rpc.state.name !== "online" || !log.joined) return;
    log.meet(await this.rpc.call("chat.who", { room: log.name }));
    this.changed.emit("room", log.name);
  }

  /** The last seq of a room that somebody has looked at here; Infinity before the first visit. */
  seen(log) {
    return this.marks.seen(log);
  }

  /** Mark everything in this room as read. */
  markSeen(log) {
    this.marks.mark(log);
  }

  /** How many messages of others are unread. */
  unread(log) {
    return this.marks.unread(log);
  }

  /**
   * Take another guest name.
   *
   * @param {string} name
   * @returns {Promise<void>} rejects with RpcError if the server does not allow it; without a connection it is tried on the next
   */
  async rename(name) {
    if (this.rpc.state.name === "online") await this.rpc.call("auth.login", { name });
    this.account.guestName = name;
    // A new connection, so that every room learns the new name in the usual way.
    if (this.rpc.state.name !== "waiting") this.rpc.restart();
  }

  /**
   * @param {string} name
   * @param {string} password
   * @returns {Promise<string>} what went wrong, in words; "" if nothing did
   */
  async signIn(name, password) {
    return this.#beAnother(await this.account.signIn(name, password));
  }

  /**
   * End the session and continue as a guest, if guests are allowed.
   *
   * @returns {Promise<string>} what went wrong, in words; "" if nothing did
   */
  async signOut() {
    return this.#beAnother(await this.account.signOut());
  }

  #beAnother(problem) {
    if (problem === "") {
      this.#belongTo(null);
      this.rpc.restart();
    }
    return problem;
  }

  /** Switch to another user: drop what the previous one knew, and load what this one keeps here. */
  #belongTo(whose) {
    const before = this.#own.whose;
    if (whose === before) return;
    this.#own.whose = whose;
    if (before !== null) this.#forget(before);
    if (whose === null) this.account.forget();
    const known = [...this.rooms];
    const followed = readFollowed(this.#own);
    const kept = followed.filter((name) => !this.rooms.has(name));
    if (followed.includes(this.#lent)) this.#lent = "";
    this.rooms.clear();
    for (const [name, log] of [...kept.map((name) => [name, new RoomLog(name)]), ...known].slice(-MOST_ROOMS)) this.rooms.set(name, log);
    if (whose !== null) this.#writeList();
    this.forgotten.emit(whose, followed);
    for (const what of ["identity", "rooms", "directory"]) this.changed.emit(what);
  }

  /** Drop everything, except that the last room stays open if that reveals nothing about the previous user. */
  #forget(before) {
    this.#admitted = false;
    const last = [...this.rooms.values()].at(-1);
    const open = before === "" || last?.info?.access === "public" ? last?.name : undefined;
    for (const [name, log] of this.rooms) {
      this.#blank(log);
      this.#early.delete(log);
      if (name !== open) this.rooms.delete(name);
    }
    this.#lent = open ?? "";
    this.directory = [];
    this.directoryCut = false;
    this.marks.clear();
    this.outbox.forget();
  }

  async #greet() {
    await this.account.logIn(this.rpc);
    this.#belongTo(this.account.author);
    this.changed.emit("identity");
    // What is under way goes first: its answer then comes with, not after, the events that show it.
    this.outbox.connected(this.account.author, (item) => this.#send(item));
    this.#admitted = true;
    // The marks come before the rooms, so that what was read elsewhere is not new here.
    const marks = this.marks.refresh();
    await Promise.all([marks, ...[...this.rooms.values()].map((log) => this.#join(log))]);
  }

  #send({ room, text, key, replyTo }) {
    return this.rpc.call("chat.post", { room, text, key, ...(replyTo ? { reply_to: replyTo } : {}) });
  }

  async #join(log) {
    const after = log.cursor;
    const params = after === null ? { limit: FIRST_PAGE } : { after, limit: RESUME_PAGE };
    const early = [];
    this.#early.set(log, early);
    try {
      log.join(await this.rpc.call("chat.join", { room: log.name, ...params }), after);
      log.problem = "";
      log.described = false;
      if (this.#lent === log.name) this.#keepLent();
    } catch (error) {
      if (error instanceof ConnectionLost) throw error;
      if (error.code === CODE.forbidden || error.code === CODE.notFound) this.#blank(log);
      log.problem = inWords(error);
      if (after !== null && log.cursor === null) this.left.emit(log.name, "access");
      if (isPassing(error)) this.#after(retryAfter(error), () => this.#joinAgain(log));
    }
    this.#early.delete(log);
    if (this.seen(log) === Infinity) this.markSeen(log);
    this.marks.catchUp(log);
    for (const event of early) this.#take(event);
    this.outbox.seen(log.name, log.head);
    this.changed.emit("room", log.name);
    this.#after(0, () => this.#quotes.lookAgain(log)); // once it counts as online
  }

  /** The room that was open before is open to the new user, too. */
  #keepLent() {
    this.#lent = "";
    this.#writeList();
  }

  #joinAgain(log) {
    if (this.#admitted && this.rooms.get(log.name) === log) this.#join(log).catch(() => {});
  }

  #take(event) {
    const log = this.rooms.get(event.room);
    if (this.#early.has(log)) this.#early.get(log).push(event);
    else if (log?.joined && log.take(event)) this.#taken(log, event);
  }

  #taken(log, event) {
    this.marks.take(log, event);
    if (event.seq === 1 || event.type === "topic" || event.type === "moderation") this.describe(log).catch(() => {}); // the next one asks again
    if (event.type === "message") this.typists.done(event.room, event.from);
    this.outbox.seen(log.name, log.head);
    this.changed.emit("room", log.name);
    this.arrived.emit(log.name, event);
  }

  /** The room is not open to us, or no longer. */
  #blank(log) {
    log.forget();
    this.#quotes.forget(log);
    this.typists.forget(log.name);
  }

  /** The server removed us from a room, or closed the room to us. */
  #lost(name, reason) {
    const log = this.rooms.get(name);
    if (!log) return;
    this.#blank(log);
    log.problem = leftInWords(reason);
    this.left.emit(name, reason);
    this.changed.emit("room", name);
  }

  #inRoom(name, change) {
    const log = this.rooms.get(name);
    if (!log) return;
    change(log);
    this.changed.emit("room", name);
  }

  async #page(log, kind, params, apply) {
    const flag = `${log.name} ${kind}`;
    if (this.#paging.has(flag) || this.rpc.state.name !== "online") return;
    this.#paging.add(flag);
    this.changed.emit("room", log.name);
    // What happens while the page is on its way may be missing from it.
    const { head, sought, windows } = log;
    try {
      const page = await this.rpc.call("chat.history", { room: log.name, limit: PAGE, ...params });
      // Answers come in any order: no use for one that belongs to an earlier window, or if another place was asked for meanwhile.
      if (sought === kind ? log.sought === kind : log.windows === windows) apply(page, head);
    } finally {
      this.#paging.delete(flag);
      this.changed.emit("room", log.name);
    }
  }

  #writeList() {
    writeFollowed(this.#own, [...this.rooms.keys()].filter((name) => name !== this.#lent));
  }
}
