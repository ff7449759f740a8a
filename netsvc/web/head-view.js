/** Everything around the log: topic, who is writing, what went wrong, who I am, and how much is new. */

import { accessOf, signOf, spoken } from "./access.js";
import { linked } from "./content.js";
import { avatar, element } from "./dom.js";

const byId = (id) => document.getElementById(id);

export class HeadView {
  #chat;
  #log;

  /**
   * @param {object} parts
   * @param {import("./client/chat.js").Chat} parts.chat
   * @param {import("./log-view.js").LogView} parts.log
   */
  constructor({ chat, log }) {
    this.#chat = chat;
    this.#log = log;
  }

  /** @param {import("./client/rooms.js").RoomLog} log the room on the screen */
  render(log) {
    this.#renderName(log.name);
    this.#renderTopic(log.topic);
    put(byId("room-problem"), log.problem);
    this.#renderTypists(log.name);
    this.#renderMe(this.#chat.rpc.state.name === "refused" ? null : this.#chat.identity);
    this.#renderUnread(log);
  }

  #renderName(room) {
    const place = byId("room-title");
    const access = accessOf(this.#chat, room);
    if (place.dataset.stamp === `${access} ${room}`) return;
    place.dataset.stamp = `${access} ${room}`;
    const words = spoken(access);
    place.replaceChildren(signOf(access), element("span", { class: "room-name", title: room }, room), ...(words ? [words] : []));
  }

  #renderTopic(topic) {
    const place = byId("topic");
    place.hidden = topic === "";
    if (place.title === topic) return;
    place.title = topic;
    place.replaceChildren(...linked(topic));
  }

  #renderTypists(room) {
    const names = this.#chat.typists.in(room, this.#chat.identity?.name);
    byId("typing").hidden = names.length === 0;
    const words = names.length > 2 ? `${names.length} people are writing` : `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} writing`;
    const place = byId("typing").querySelector(".who");
    if (place.textContent !== words) place.textContent = words;
  }

  #renderMe(identity) {
    const button = byId("account");
    const name = identity?.name ?? "Not signed in";
    if (button.dataset.name === name && button.dataset.guest === String(identity?.guest)) return;
    button.dataset.name = name;
    button.dataset.guest = String(identity?.guest);
    button.querySelector(".avatar").replaceWith(avatar(name));
    button.querySelector(".name").textContent = name;
    button.querySelector(".role").textContent = identity === null ? "Sign in" : identity.guest ? "Guest · change" : identity.roles.join(", ");
  }

  #renderUnread(log) {
    const { count, more } = this.#chat.unread(log);
    const elsewhere = [...this.#chat.rooms.values()].reduce((sum, other) => sum + this.#chat.unread(other).count, 0);
    const title = `${elsewhere > 0 ? `(${elsewhere}) ` : ""}#${log.name} – netsvc`;
    if (document.title !== title) document.title = title;
    const latest = byId("latest");
    latest.hidden = this.#log.atEnd;
    const words = count === 1 ? "1 new message" : `${count}${more ? "+" : ""} new messages`;
    latest.lastElementChild.textContent = count > 0 ? words : "Latest messages";
    latest.classList.toggle("has-unread", count > 0);
    byId("to-unread").hidden = !this.#log.unreadAbove;
  }
}

/** Show a text; hide the element if there is none. */
function put(place, text) {
  if (place.textContent !== text) place.textContent = text;
  place.hidden = text === "";
}
