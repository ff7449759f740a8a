/** One person in a room, and the actions on them there. */

import { inWords } from "./client/words.js";
import { avatar, element } from "./dom.js";
import { lockOf, may } from "./rights.js";

export class PersonDialog {
  #dialog;
  #chat;
  #on;
  #log = null;
  #name = "";

  /**
   * @param {HTMLDialogElement} dialog
   * @param {import("./client/chat.js").Chat} chat
   * @param {object} on `mention(name)` writes the name; `changed()` after something was done
   */
  constructor(dialog, chat, on) {
    this.#dialog = dialog;
    this.#chat = chat;
    this.#on = on;
    dialog.addEventListener("click", (event) => this.#clicked(event));
    dialog.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  }

  /**
   * @param {import("./client/rooms.js").RoomLog} log the room
   * @param {{name: string, role?: string, guest?: boolean, muted?: boolean, banned?: boolean}} person as far as is known
   */
  open(log, person) {
    this.#log = log;
    this.#name = person.name;
    const form = this.#dialog.querySelector("form");
    form.reset();
    form.querySelector(".problem").hidden = true;
    form.querySelector("h2").replaceChildren(avatar(person.name), element("bdi", {}, person.name));
    const self = person.name === this.#chat.identity?.name;
    const marks = [person.role, person.guest && "guest", person.muted && "muted", person.banned && "banned", self && "you"].filter(Boolean);
    form.querySelector(".lead").textContent = marks.join(" · ");
    form.querySelector(".moderation").hidden = self || !may(log, "moderate");
    // Anybody may take a guest's name, so guests have no roles.
    form.querySelector(".roles").hidden = self || person.guest === true || !may(log, "own");
    form.querySelector("[data-do=mention]").hidden = self || lockOf(log, this.#chat.identity?.name ?? "", new Date()) !== null;
    this.#offer(form, person);
    this.#dialog.showModal();
  }

  /** Show only actions that would change something. */
  #offer(form, { role = "", guest = false, muted = false, banned = false }) {
    const show = (action, yes) => {
      form.querySelector(`[data-do=${action}]`).hidden = !yes;
    };
    show("invite", role === "" && !banned && !guest);
    show("unmute", muted);
    show("mute", !banned);
    show("unban", banned);
    show("ban", !banned);
    show("kick", !banned);
    for (const button of form.querySelectorAll("[data-do^=role-]")) button.setAttribute("aria-pressed", String(button.dataset.do === `role-${role}`));
  }

  #clicked(event) {
    const action = event.target.closest("[data-do]")?.dataset.do;
    if (event.target === this.#dialog || event.target.closest(".dismiss")) this.#dialog.close();
    else if (action === "mention") this.#mention();
    else if (action) this.#act(action);
  }

  #mention() {
    this.#dialog.close();
    this.#on.mention(this.#name);
  }

  async #act(action) {
    const form = this.#dialog.querySelector("form");
    const { reason, duration } = form.elements;
    const params = { room: this.#log.name, name: this.#name };
    const role = /^role-(\w+)$/.exec(action)?.[1];
    if (role) params.role = role;
    if (["kick", "ban", "mute"].includes(action) && reason.value.trim() !== "") params.reason = reason.value.trim();
    if (["ban", "mute"].includes(action) && duration.value !== "") params.duration = Number(duration.value);
    const problem = await this.#chat.moderate(role ? "role" : action, params).then(() => "", inWords);
    const place = form.querySelector(".problem");
    place.textContent = problem;
    place.hidden = problem === "";
    if (problem !== "") return;
    this.#dialog.close();
    this.#on.changed();
  }
}
