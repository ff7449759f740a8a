/** The list of rooms: those followed here, with what is unread, and the others that the server has. */

import { accessOf, signOf, spoken } from "./access.js";
import { pathOfRoom } from "./client/text.js";
import { arrange, element, icon } from "./dom.js";

/** How many rooms of the server are shown at once; the others are found by name. */
const MOST_OTHERS = 100;
/** With more rooms than this there is a field to find one. */
const MANY = 12;

export class RoomsView {
  #chat;
  #followed;
  #others;
  #filter;
  #rest;
  #links = new Map();

  /**
   * @param {object} parts
   * @param {import("./client/chat.js").Chat} parts.chat
   * @param {HTMLElement} parts.followed list of the rooms followed here
   * @param {HTMLElement} parts.others list of the rest
   * @param {HTMLInputElement} parts.filter
   * @param {HTMLElement} parts.rest says how many are not shown
   * @param {(room: string) => void} parts.onLeave
   */
  constructor({ chat, followed, others, filter, rest, onLeave }) {
    this.#chat = chat;
    this.#followed = followed;
    this.#others = others;
    this.#filter = filter;
    this.#rest = rest;
    filter.addEventListener("input", () => this.#renderOthers());
    chat.forgotten.add(() => {
      filter.value = "";
    });
    followed.addEventListener("click", (event) => {
      const leave = event.target.closest(".leave");
      if (leave) onLeave(leave.dataset.leave);
    });
  }

  /** The names of the followed rooms, in the order shown. */
  get names() {
    return [...this.#chat.rooms.keys()].sort();
  }

  /** @param {string} current the room on the screen */
  render(current) {
    const { activeElement } = document;
    const row = this.#followed.contains(activeElement) ? activeElement.parentElement : null;
    const focused = row?.firstElementChild.dataset.room;
    const place = [...this.#followed.children].indexOf(row);
    arrange(this.#followed, this.names.map((name) => this.#row(name, current)));
    // A row that was made again has lost the focus it had; from one that is gone it moves to the next.
    if (row !== null && document.activeElement !== activeElement) {
      const next = [...this.#followed.children].find((node) => node.firstElementChild.dataset.room === focused) ?? this.#followed.children[place] ?? this.#followed.lastElementChild;
      next?.firstElementChild.focus();
    }
    this.#renderOthers();
  }

  #renderOthers() {
    const { marks } = this.#chat;
    const others = this.#chat.directory.filter(({ name }) => !this.#chat.rooms.has(name));
    // Those with something new come first; otherwise they might not be shown.
    const news = ({ name }) => Number(marks.unreadElsewhere(name).count > 0);
    others.sort((a, b) => news(b) - news(a));
    const wanted = this.#filter.value.trim().toLowerCase().replace(/^#/, "");
    const found = others.filter(({ name }) => name.includes(wanted));
    const shown = found.slice(0, MOST_OTHERS);
    arrange(this.#others, shown.map((room) => this.#otherRow(room)));
    this.#others.closest("section").hidden = others.length === 0;
    this.#filter.hidden = others.length <= MANY;
    const hidden = found.length - shown.length;
    const words = hidden > 0 ? `and ${hidden}${this.#chat.directoryCut ? " or more" : ""} others: type part of the name` : "";
    this.#rest.textContent = found.length === 0 && wanted !== "" ? "No room has this in its name." : words;
    this.#rest.hidden = this.#rest.textContent === "";
    const there = new Set([...this.#chat.rooms.keys(), ...shown.map(({ name }) => name)]);
    for (const name of this.#links.keys()) if (!there.has(name)) this.#links.delete(name);
  }

  #row(name, current) {
    const unread = name === current ? null : this.#chat.unread(this.#chat.rooms.get(name));
    const count = unread?.count ? `${unread.count}${unread.more ? "+" : ""}` : "";
    const named = unread?.mentions ?? 0;
    const access = accessOf(this.#chat, name);
    return this.#kept(name, `followed ${access} ${count} ${named} ${name === current}`, () => {
      const link = element(
        "a",
        { href: pathOfRoom(name), "data-room": name, "aria-current": name === current ? "page" : null, class: count ? "has-unread" : null },
        signOf(access),
        element("span", { class: "room-name", title: name }, name),
        spoken(access),
        ...badges(count, named),
      );
      const label = { type: "button", class: "leave", "data-leave": name, "aria-label": `Leave #${name}`, title: "Leave" };
      return element("li", {}, link, element("button", label, icon("close")));
    });
  }

  #otherRow({ name, count, access = "public" }) {
    const unread = this.#chat.marks.unreadElsewhere(name);
    const fresh = unread.count > 0 ? `${unread.count}${unread.more ? "+" : ""}` : "";
    return this.#kept(name, `other ${access} ${count} ${fresh} ${unread.mentions}`, () => {
      const here = count > 0 && !fresh ? element("span", { class: "count", title: `${count} here now` }, String(count)) : null;
      const attributes = { href: pathOfRoom(name), "data-room": name, class: fresh ? "has-unread" : null };
      return element("li", {}, element("a", attributes, signOf(access), element("span", { class: "room-name", title: name }, name), spoken(access), here, ...badges(fresh, unread.mentions)));
    });
  }

  /** Rows are made again only when they change, so that focus stays where it is. */
  #kept(name, stamp, build) {
    const kept = this.#links.get(name);
    if (kept?.stamp === stamp) return kept.node;
    const node = build();
    this.#links.set(name, { stamp, node });
    return node;
  }
}

function badges(count, mentions) {
  const named = mentions > 0 ? element("span", { class: "badge at", title: `You are mentioned ${mentions === 1 ? "once" : `${mentions} times`}` }, "@", element("span", { class: "sr" }, " you are mentioned, ")) : null;
  const unread = count ? element("span", { class: "badge" }, count, element("span", { class: "sr" }, " unread")) : null;
  return [named, unread];
}
