/** The page: one Chat, the views on it, and what the browser adds (address, title, focus, network). */

import { Chat } from "./client/chat.js";
import { Composer } from "./composer.js";
import { AccountDialog, RoomDialog } from "./dialogs.js";
import { avatar } from "./dom.js";
import { Drawers } from "./drawers.js";
import { LogView } from "./log-view.js";
import { PeopleView } from "./people-view.js";
import { RoomsView } from "./rooms-view.js";
import { StatusView } from "./status-view.js";
import { SafeStorage } from "./client/storage.js";
import { pathOfRoom, roomOfPath } from "./client/text.js";
import { isShown } from "./client/rooms.js";

const DEFAULT_ROOM = "lobby";
const LAST_ROOM = "netsvc.room";
/** Milliseconds between looks at which rooms the server has. */
const DIRECTORY_EVERY = 30_000;

const byId = (id) => document.getElementById(id);

class Page {
  #storage = new SafeStorage(() => localStorage);
  #room = "";
  #due = false;

  constructor() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.chat = new Chat({ url: `${scheme}//${location.host}/ws`, storage: this.#storage });
    const { chat } = this;
    this.log = new LogView({ chat, scroller: byId("log"), list: byId("rows"), onMove: () => this.#moved() });
    this.rooms = new RoomsView({ chat, followed: byId("followed"), others: byId("others"), onLeave: (room) => this.#leave(room) });
    this.people = new PeopleView({ list: byId("names"), counts: document.querySelectorAll(".people-count") });
    this.status = new StatusView({ chat, pill: byId("state"), banner: byId("banner") });
    this.drawers = new Drawers({ regions: [byId("rooms"), byId("main"), byId("people")], backdrop: byId("backdrop") });
    this.account = new AccountDialog(byId("account-dialog"), chat);
    this.roomDialog = new RoomDialog(byId("room-dialog"), (room) => this.#visit(room));
    const drafts = new SafeStorage(() => sessionStorage);
    this.composer = new Composer({ form: byId("composer"), drafts, onPost: (text) => this.#post(text) });
    this.#listenToChat();
    this.#listenToPage();
    this.#listenToBrowser();
  }

  start() {
    this.#show(roomOfPath(location.pathname) || this.#storage.getItem(LAST_ROOM) || DEFAULT_ROOM);
    this.chat.rpc.open();
    this.#focusComposer();
  }

  #listenToChat() {
    const { chat } = this;
    chat.changed.add(() => this.#renderSoon());
    chat.arrived.add((room, event) => this.#arrived(room, event));
    chat.rpc.changed.add(({ name, code }) => {
      this.#renderSoon();
      if (name === "online") this.#online();
      if (name === "refused" && code === 4401) this.#refused();
    });
  }

  #listenToPage() {
    const click = (id, action) => byId(id).addEventListener("click", action);
    click("open-rooms", (event) => this.#openRooms(event.currentTarget));
    click("open-people", (event) => this.drawers.toggle(byId("people"), event.currentTarget));
    click("close-rooms", () => this.drawers.close());
    click("close-people", () => this.drawers.close());
    click("new-room", () => this.roomDialog.open());
    click("account", () => this.account.open());
    click("latest", () => this.log.showEnd().then(() => this.#focusComposer(), () => {}));
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
    addEventListener("popstate", () => this.#show(roomOfPath(location.pathname) || this.#room));
    addEventListener("storage", ({ key, newValue }) => newValue === null && outbox.removedElsewhere(key));
    setInterval(() => this.#refreshDirectory(), DIRECTORY_EVERY);
  }

  /** Go to a room and remember it in the history of the browser. */
  #visit(room) {
    if (room !== this.#room && this.chat.rpc.state.name !== "refused") history.pushState(null, "", pathOfRoom(room));
    this.#show(room);
    this.drawers.close();
    this.#focusComposer();
  }

  /** Not on touch screens, where it would bring up the keyboard. */
  #focusComposer() {
    if (matchMedia("(pointer: fine)").matches) this.composer.focus();
  }

  #show(room) {
    if (room === this.#room) return;
    this.#room = room;
    this.#storage.setItem(LAST_ROOM, room);
    this.log.open(this.chat.follow(room));
    this.composer.open(room);
    byId("room-title").textContent = room;
    this.#render();
  }

  #leave(room) {
    this.chat.leave(room);
    if (room !== this.#room) return;
    this.#room = "";
    const [next = DEFAULT_ROOM] = [...this.chat.rooms.keys()].reverse();
    this.#visit(next);
  }

  #post(text) {
    this.log.markUnread(Infinity);
    this.chat.post(this.#room, text);
    this.log.showEnd().catch(() => {});
  }

  /** True if whoever sits here sees the end of the room. */
  get #reads() {
    return document.visibilityState === "visible" && document.hasFocus() && this.log.atEnd;
  }

  #arrived(room, event) {
    if (room !== this.#room || !isShown(event) || event.from === this.chat.identity?.name || this.#reads) return;
    const log = this.chat.rooms.get(room);
    // The first one that nobody saw: the line goes before it.
    if (this.chat.unread(log).count <= 1) this.log.markUnread(this.chat.seen(log));
  }

  #online() {
    if (roomOfPath(location.pathname) !== this.#room) history.replaceState(null, "", pathOfRoom(this.#room));
    this.#refreshDirectory();
    if (this.chat.nameProblem !== "") this.account.open(this.chat.nameProblem);
  }

  /** Who is not signed in is let in at / only: so a reload leads back here, where one signs in, and not to an error. */
  #refused() {
    history.replaceState(null, "", "/");
    this.account.open();
  }

  #refreshDirectory() {
    if (document.visibilityState === "visible") this.chat.refreshDirectory().catch(() => {}); // the next time will do
  }

  #openRooms(opener) {
    this.#refreshDirectory();
    this.drawers.toggle(byId("rooms"), opener);
  }

  #chosen(event) {
    const link = event.target.closest("a[data-room]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    this.#visit(link.dataset.room);
  }

  /** Whoever starts to write while nothing is chosen means the message. */
  #typed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.key.length !== 1 || event.key === " ") return;
    const { activeElement } = document;
    if (activeElement === document.body || activeElement === byId("log")) this.composer.focus();
  }

  #moved() {
    this.#renderSoon();
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
    this.log.render();
    if (this.#reads && log.joined) chat.markSeen(log);
    this.rooms.render(this.#room);
    this.people.render(log.present, chat.identity?.name ?? "");
    this.status.render();
    this.account.render();
    this.#renderIdentity();
    this.#renderUnread(chat.unread(log));
    byId("room-problem").textContent = log.problem;
    byId("room-problem").hidden = log.problem === "";
  }

  #renderIdentity() {
    const identity = this.chat.rpc.state.name === "refused" ? null : this.chat.identity;
    const name = identity?.name ?? "Not signed in";
    const button = byId("account");
    if (button.dataset.name === name && button.dataset.guest === String(identity?.guest)) return;
    button.dataset.name = name;
    button.dataset.guest = String(identity?.guest);
    button.querySelector(".avatar").replaceWith(avatar(name));
    button.querySelector(".name").textContent = name;
    button.querySelector(".role").textContent = identity === null ? "Sign in" : identity.guest ? "Guest · change" : identity.roles.join(", ");
  }

  #renderUnread({ count, more }) {
    const elsewhere = [...this.chat.rooms.values()].reduce((sum, log) => sum + this.chat.unread(log).count, 0);
    document.title = `${elsewhere > 0 ? `(${elsewhere}) ` : ""}#${this.#room} – netsvc`;
    const latest = byId("latest");
    latest.hidden = this.log.atEnd;
    const words = count === 1 ? "1 new message" : `${count}${more ? "+" : ""} new messages`;
    latest.lastElementChild.textContent = count > 0 ? words : "Latest messages";
    latest.classList.toggle("has-unread", count > 0);
  }
}

new Page().start();
