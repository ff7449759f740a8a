/** The list of rooms: those followed here, with what is unread, and the others that the server has. */

import { arrange, element, icon } from "./dom.js";
import { pathOfRoom } from "./client/text.js";

export class RoomsView {
  #chat;
  #followed;
  #others;
  #onLeave;
  #links = new Map();

  /**
   * @param {object} parts
   * @param {import("./client/chat.js").Chat} parts.chat
   * @param {HTMLElement} parts.followed list of the rooms followed here
   * @param {HTMLElement} parts.others list of the rest
   * @param {(room: string) => void} parts.onLeave
   */
  constructor({ chat, followed, others, onLeave }) {
    this.#chat = chat;
    this.#followed = followed;
    this.#others = others;
    this.#onLeave = onLeave;
  }

  /** @param {string} current the room on the screen */
  render(current) {
    const { activeElement } = document;
    const focused = this.#followed.contains(activeElement) ? activeElement.parentElement.firstElementChild.dataset.room : null;
    const names = [...this.#chat.rooms.keys()].sort();
    const others = this.#chat.directory.filter(({ name }) => !this.#chat.rooms.has(name));
    arrange(this.#followed, names.map((name) => this.#row(name, current)));
    arrange(this.#others, others.map((room) => this.#otherRow(room)));
    this.#others.parentElement.hidden = others.length === 0;
    // A row that was made again has lost the focus it had.
    if (focused !== null && document.activeElement !== activeElement) this.#links.get(focused)?.node.firstElementChild.focus();
    const shown = new Set([...names, ...others.map(({ name }) => name)]);
    for (const [key, { name }] of this.#links) if (!shown.has(name)) this.#links.delete(key);
  }

  #row(name, current) {
    const { count, more } = this.#chat.unread(this.#chat.rooms.get(name));
    const unread = name === current || count === 0 ? "" : `${count}${more ? "+" : ""}`;
    return this.#kept(name, `followed ${unread} ${name === current}`, () => {
      const badge = unread ? element("span", { class: "badge" }, unread, element("span", { class: "sr" }, " unread")) : null;
      const link = element(
        "a",
        { href: pathOfRoom(name), "data-room": name, "aria-current": name === current ? "page" : null, class: unread ? "has-unread" : null },
        icon("hash"),
        element("span", { class: "room-name" }, name),
        badge,
      );
      const leave = element("button", { type: "button", class: "leave", "aria-label": `Leave #${name}`, title: "Leave" }, icon("close"));
      leave.addEventListener("click", () => this.#onLeave(name));
      return element("li", {}, link, leave);
    });
  }

  #otherRow({ name, count }) {
    return this.#kept(name, `other ${count}`, () => {
      const here = count > 0 ? element("span", { class: "count", title: `${count} here now` }, String(count)) : null;
      const link = element("a", { href: pathOfRoom(name), "data-room": name }, icon("hash"), element("span", { class: "room-name" }, name), here);
      return element("li", {}, link);
    });
  }

  /** Rows are made again only when they change, so that focus stays where it is. */
  #kept(name, stamp, build) {
    const kept = this.#links.get(name);
    if (kept?.stamp === stamp) return kept.node;
    const node = build();
    this.#links.set(name, { name, stamp, node });
    return node;
  }
}
