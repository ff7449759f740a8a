/** The page: one Chat, the views on it, and what the browser adds (address, title, focus, network). */

import { Announcer } from "./announcer.js";
import { Chat } from "./client/chat.js";
import { SafeStorage } from "./client/storage.js";
import { pathOfRoom, roomOfPath } from "./client/text.js";
import { inWords } from "./client/words.js";
import { Composer } from "./composer.js";
import { AccountDialog, ConfirmDialog, RoomDialog } from "./dialogs.js";
import { Drawers } from "./drawers.js";
import { EmojiPicker } from "./emoji-picker.js";
import { HeadView } from "./head-view.js";
import { LogView } from "./log-view.js";
import { MessageActions } from "./message-actions.js";
import { PeopleView } from "./people-view.js";
import { PersonDialog } from "./person-dialog.js";
import { lockOf, may, mayAmend } from "./rights.js";
import { RoomInfoDialog } from "./room-info.js";
import { RoomsView } from "./rooms-view.js";
import { SearchDialog } from "./search-dialog.js";
import { StatusView } from "./status-view.js";
import { WritingLock } from "./writing-lock.js";

const DEFAULT_ROOM = "lobby";
/** Milliseconds between checks of which rooms the server has, and what is new in those that are not followed. */
const LISTS_EVERY = 60_000;
/** Milliseconds for which a short notice is shown. */
const TOAST = 4000;

const byId = (id) => document.getElementById(id);

class Page {
  #storage = new SafeStorage(() => localStorage);
  #room = "";
  /** False if the room on the screen was not asked for: then a user who logs in is taken to their last room. */
  #asked = false;
  /** The current user; null while unknown. */
  #whose = null;
  #due = false;
  #toast = null;

  constructor() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.chat = new Chat({ url: `${scheme}//${location.host}/ws`, storage: this.#storage });
    const { chat } = this;
    this.announcer = new Announcer(byId("announcer"));
    const onLog = { onMove: () => this.#renderSoon(), onTarget: (seq) => this.#jump(seq) };
    this.log = new LogView({ chat, scroller: byId("log"), list: byId("rows"), day: byId("day-above"), ...onLog });
    this.rooms = new RoomsView({
      chat,
      followed: byId("followed"),
      others: byId("others"),
      filter: byId("filter"),
      rest: byId("others-rest"),
      onLeave: (room) => this.#leave(room),
    });
    const onChoose = (name) => this.#openPerson(name);
    this.people = new PeopleView({ list: byId("names"), counts: document.querySelectorAll(".people-count"), onChoose });
    this.status = new StatusView({ chat, pill: byId("state"), banner: byId("banner") });
    this.head = new HeadView({ chat, log: this.log });
    this.drawers = new Drawers({ regions: [byId("rooms"), byId("main"), byId("people")], backdrop: byId("backdrop") });
    this.#makeDialogs();
    this.#makeWriting();
    this.#listenToChat();
    this.#listenToPage();
    this.#listenToBrowser();
  }

  #makeDialogs() {
    this.account = new AccountDialog(byId("account-dialog"), this.chat);
    this.roomDialog = new RoomDialog(byId("room-dialog"), this.chat, (room, remark) => this.#visitNew(room, remark));
    this.info = new RoomInfoDialog(byId("info-dialog"), this.chat, (occupant) => this.person.open(this.log.room, occupant));
    const on = { mention: (name) => this.#mention(name), changed: () => this.info.refresh() };
    this.person = new PersonDialog(byId("person-dialog"), this.chat, on);
    this.confirm = new ConfirmDialog(byId("confirm-dialog"));
    this.picker = new EmojiPicker(byId("emoji-dialog"));
    this.search = new SearchDialog(byId("search-dialog"), this.chat, (room, seq) => this.#visit(room, seq));
  }

  #makeWriting() {
    const { chat, picker, log } = this;
    const on = {
      post: (text, replyTo) => this.#post(text, replyTo),
      edit: (event, text) => chat.edit(this.#room, event.seq, text).then(() => "", inWords),
      typing: () => chat.typists.write(this.#room),
      editLast: () => this.#editLast(),
      // Only moderators mention everybody.
      names: () => [...this.#namesHere(), ...(may(log.room, "moderate") ? ["room"] : [])],
      pick: (opener, take) => picker.open(opener, take),
      say: (sentence) => this.#say(sentence),
    };
    this.composer = new Composer({ form: byId("composer"), completion: byId("completion"), drafts: new SafeStorage(() => sessionStorage), on });
    this.lock = new WritingLock({ chat, fields: byId("writing"), words: byId("locked"), retreat: byId("log") });
    const actions = {
      room: () => this.#room,
      reply: (event) => this.composer.reply(event),
      edit: (event) => this.composer.edit(event),
      confirm: (question) => this.confirm.ask(question),
      say: (sentence) => this.#say(sentence),
      jump: (seq) => this.#jump(seq),
      leave: () => this.composer.focus(),
      mayModerate: () => may(log.room, "moderate"),
      lock: () => lockOf(log.room, chat.identity?.name ?? "", new Date()),
    };
    this.actions = new MessageActions({ chat, log, picker, scroller: byId("log"), list: byId("rows"), actions });
  }

  start() {
    const asked = roomOfPath(location.pathname);
    this.#asked = asked !== "";
    this.#show(asked || DEFAULT_ROOM, seqOfHash());
    this.chat.rpc.open();
    this.#focusComposer();
  }

  #listenToChat() {
    const { chat } = this;
    chat.changed.add(() => this.#renderSoon());
    chat.arrived.add((room, event) => this.#arrived(room, event));
    chat.forgotten.add((whose, followed) => this.#belongTo(whose, followed));
    chat.left.add((room) => (room === this.#room ? this.#forget() : this.composer.abandon(room)));
    chat.rpc.changed.add(({ name, code }) => {
      this.#renderSoon();
      if (name === "online") this.#online();
      if (name === "refused" && code === 4401) this.#refused();
    });
  }

  /** Switch to another user, in a room that they may know of. */
  #belongTo(whose, followed) {
    const before = this.#whose;
    // Text typed before the user is known belongs to the room on the screen.
    const isIdle = before !== null || this.composer.isEmpty;
    this.#whose = whose;
    if (before === null) this.composer.belongTo(whose);
    else this.#forget();
    if (!this.chat.rooms.has(this.#room)) this.#goHome();
    if (isIdle && !this.#asked && followed.length > 0) this.#resume(followed);
  }

  /** Go to a room that anybody may know of: the new user may not know the name of the one on the screen. */
  #goHome() {
    this.#asked = false;
    history.replaceState(null, "", "/");
    this.#show(DEFAULT_ROOM);
  }

  /** Continue in the room that was visited last, not in one that was not asked for. */
  #resume(followed) {
    const unasked = this.#room;
    this.#asked = true;
    this.#show(followed.at(-1));
    if (!followed.includes(unasked)) this.chat.leave(unasked);
  }

  /** Remove everything begun, opened and waiting to be read out in the room on the screen. */
  #forget() {
    this.composer.belongTo(this.#whose);
    this.announcer.forget();
    this.#closeDialogs();
  }

  /** All but that of the account are about the room on the screen. */
  #closeDialogs() {
    for (const dialog of document.querySelectorAll("dialog[open]:not(#account-dialog)")) dialog.close();
  }

  #listenToPage() {
    const click = (id, action) => byId(id).addEventListener("click", action);
    click("open-rooms", (event) => this.#openRooms(event.currentTarget));
    click("open-people", (event) => this.drawers.toggle(byId("people"), event.currentTarget));
    click("close-rooms", () => this.drawers.close());
    click("close-people", () => this.drawers.close());
    click("new-room", () => this.roomDialog.open());
    click("account", () => this.account.open());
    click("open-info", () => this.info.open(this.log.room));
    click("open-search", () => this.search.open(this.#room));
    click("latest", () => this.log.showEnd().then(() => this.#focusComposer(), () => {}));
    click("to-unread", () => this.log.showUnread().catch(() => {}));
    byId("banner").querySelector(".sign-in").addEventListener("click", () => this.account.open());
    byId("rooms").addEventListener("click", (event) => this.#chosen(event));
    document.addEventListener("keydown", (event) => this.#typed(event));
  }

  #listenToBrowser() {
    const { rpc, outbox } = this.chat;
    const looked = () => {
      if (document.visibilityState === "visible") {
        rpc.retryNow();
        rpc.probe();
      }
      this.#renderSoon();
    };
    document.addEventListener("visibilitychange", looked);
    addEventListener("focus", looked);
    addEventListener("blur", () => this.#renderSoon());
    addEventListener("online", () => rpc.retryNow());
    addEventListener("offline", () => this.#renderSoon());
    addEventListener("popstate", () => this.#navigated());
    addEventListener("storage", ({ key, newValue }) => {
      if (newValue === null) outbox.removedElsewhere(key);
      this.#renderSoon(); // what is new here may have been read in another tab
    });
    setInterval(() => this.#refreshLists(), LISTS_EVERY);
  }

  /** Go to a room, perhaps to a message in it, and remember it in the history of the browser. */
  #visit(room, seq = 0) {
    const path = pathOfRoom(room) + (seq > 0 ? `#${seq}` : "");
    this.#asked = true;
    if (path !== location.pathname + location.hash && this.chat.rpc.state.name !== "refused") history.pushState(null, "", path);
    this.#show(room, seq);
    this.drawers.close();
    if (seq === 0) this.#focusComposer();
  }

  #visitNew(room, remark) {
    this.#visit(room);
    if (remark !== "") this.#say(remark);
  }

  /** Back, forward, or a click on a link to a message inside the page. */
  #navigated() {
    this.#asked = true;
    const room = roomOfPath(location.pathname) || this.#room;
    if (room !== this.#room) this.#closeDialogs();
    this.#show(room, seqOfHash());
  }

  /** Not on touch screens, where it would bring up the keyboard. */
  #focusComposer() {
    if (matchMedia("(pointer: fine)").matches) this.composer.focus();
  }

  #show(room, seq = 0) {
    if (room === this.#room) {
      this.chat.follow(room);
      if (seq > 0) this.#jump(seq);
      return;
    }
    this.#room = room;
    this.log.open(this.chat.follow(room), seq);
    this.composer.open(room);
    this.#render();
  }

  async #jump(seq) {
    const problem = await this.log.show(seq).then((found) => (found ? "" : "This message is no longer available."), inWords);
    if (problem !== "") this.#say(problem);
  }

  #leave(room) {
    this.chat.leave(room);
    if (room !== this.#room) return;
    this.#room = "";
    const [next = DEFAULT_ROOM] = [...this.chat.rooms.keys()].reverse();
    this.#visit(next);
  }

  #post(text, replyTo) {
    this.#asked = true;
    this.log.markUnread(Infinity);
    this.chat.post(this.#room, text, { replyTo });
    this.log.showEnd().catch(() => {});
  }

  /** Arrow Up in an empty field: edit my last message. */
  #editLast() {
    const mine = ({ event }) => event.type === "message" && !event.deleted && mayAmend(this.log.room, event, this.chat.identity?.name);
    const row = this.log.messages.findLast(mine);
    if (row) this.composer.edit(row.event);
    return row !== undefined;
  }

  /** Names to suggest after an @: those who are here, then those who have written. */
  #namesHere() {
    const log = this.chat.rooms.get(this.#room);
    const writers = log.events.slice(-500).map(({ from }) => from).reverse();
    return [...log.present.names, ...writers].filter((name) => name !== this.chat.identity?.name);
  }

  /** True if the user sees the end of the room. */
  get #reads() {
    return document.visibilityState === "visible" && document.hasFocus() && this.log.atEnd;
  }

  #arrived(room, event) {
    if (event.type === "delete") this.composer.forget(room, event.target);
    if (room !== this.#room) return;
    if (!this.chat.marks.isNews(event)) return;
    this.announcer.arrived(event);
    if (this.#reads) return;
    const log = this.chat.rooms.get(room);
    // The first unseen one: the line goes before it.
    if (this.chat.unread(log).count <= 1) this.log.markUnread(this.chat.seen(log));
  }

  #online() {
    if (roomOfPath(location.pathname) !== this.#room) history.replaceState(null, "", pathOfRoom(this.#room));
    this.#refreshDirectory();
    if (this.chat.nameProblem !== "") this.account.open(this.chat.nameProblem);
  }

  /** Without signing in, only / can be loaded: so a reload leads back here to sign in, not to an error. */
  #refused() {
    history.replaceState(null, "", "/");
    this.account.open();
  }

  /** Users with an account may also have read something elsewhere meanwhile. */
  #refreshLists() {
    if (document.visibilityState !== "visible" || this.chat.rpc.state.name !== "online") return;
    this.chat.marks.refresh();
    this.#refreshDirectory();
  }

  #refreshDirectory() {
    this.chat.refreshDirectory().catch(() => {}); // the next time is soon enough
  }

  #openRooms(opener) {
    this.#refreshLists();
    this.drawers.toggle(byId("rooms"), opener);
  }

  #chosen(event) {
    const link = event.target.closest("a[data-room]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    this.#visit(link.dataset.room);
  }

  /** The keys of the page; typing while nothing has the focus goes to the message field. */
  #typed(event) {
    const { key, ctrlKey, metaKey, altKey } = event;
    if ((ctrlKey || metaKey) && !altKey && key.toLowerCase() === "k") {
      event.preventDefault();
      // Not over another dialog, behind which what is chosen would be.
      if (document.querySelector("dialog[open]:not(#search-dialog)") === null) this.search.open(this.#room);
    } else if (altKey && !ctrlKey && !metaKey && (key === "ArrowUp" || key === "ArrowDown")) {
      event.preventDefault();
      this.#nextRoom(key === "ArrowUp" ? -1 : 1);
    } else if (!ctrlKey && !metaKey && !altKey && key.length === 1 && key !== " ") {
      const { activeElement } = document;
      if (activeElement === document.body || activeElement === byId("log")) this.composer.focus();
    }
  }

  #nextRoom(by) {
    const { names } = this.rooms;
    if (document.querySelector("dialog[open]") || names.length === 0) return;
    this.#visit(names[(names.indexOf(this.#room) + by + names.length) % names.length]);
  }

  /** Open the dialog for somebody in the list of people; their role in the room is looked up. */
  async #openPerson(name) {
    const log = this.log.room;
    const roster = await this.chat.roster(log).catch(() => []);
    if (this.log.room !== log || !log.joined) return;
    this.person.open(log, roster.find((occupant) => occupant.name === name) ?? { name });
  }

  #mention(name) {
    byId("info-dialog").close();
    this.drawers.close();
    this.composer.insert(`@${name} `);
  }

  /** Show a short notice that disappears by itself. */
  #say(sentence) {
    const toast = byId("toast");
    toast.textContent = sentence;
    toast.hidden = false;
    clearTimeout(this.#toast);
    this.#toast = setTimeout(() => {
      toast.hidden = true;
    }, TOAST);
  }

  /** Many changes, one rendering; a hidden page gets its title at once and the rest when it is looked at. */
  #renderSoon() {
    if (this.#due) return;
    this.#due = true;
    const render = () => {
      this.#due = false;
      this.#render();
    };
    if (document.visibilityState === "visible") requestAnimationFrame(render);
    else setTimeout(render, 200);
  }

  #render() {
    const { chat } = this;
    const log = chat.rooms.get(this.#room);
    if (!log.described) chat.describe(log).catch(() => {}); // the next connection asks again
    this.log.render();
    this.actions.render();
    if (this.#reads && log.joined) chat.markSeen(log);
    this.rooms.render(this.#room);
    this.people.render(log, chat.identity?.name ?? "");
    this.status.render();
    this.account.render();
    this.head.render(log);
    this.lock.render(log);
  }
}

/** The message that an address leads to, 0 for none. */
function seqOfHash() {
  const match = /^#(\d{1,15})$/.exec(location.hash);
  return match ? Number(match[1]) : 0;
}

new Page().start();
