/** A room's properties and people's roles in it: readable by all, changed by its moderators and owners. */

import { ACCESS } from "./access.js";
import { inWords } from "./client/words.js";
import { linked } from "./content.js";
import { avatar, element } from "./dom.js";
import { may } from "./rights.js";

export class RoomInfoDialog {
  #dialog;
  #chat;
  #onPerson;
  #log = null;

  /**
   * @param {HTMLDialogElement} dialog
   * @param {import("./client/chat.js").Chat} chat
   * @param {(occupant: object) => void} onPerson somebody in the list was chosen
   */
  constructor(dialog, chat, onPerson) {
    this.#dialog = dialog;
    this.#chat = chat;
    this.#onPerson = onPerson;
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog || event.target.closest(".dismiss")) dialog.close();
    });
    dialog.querySelector("#info-topic").addEventListener("keydown", (event) => this.#topicKey(event));
    this.#on(".about-form", (form) => this.#save(form));
    this.#on(".invite-form", (form) => this.#invite(form));
  }

  /** @param {import("./client/rooms.js").RoomLog} log */
  open(log) {
    this.#log = log;
    this.#dialog.querySelector(".invite-form").reset();
    this.#list([]);
    this.#dialog.querySelector("h2").textContent = `#${log.name}`;
    for (const problem of this.#dialog.querySelectorAll(".problem")) problem.hidden = true;
    this.#fill();
    this.#dialog.showModal();
    this.refresh();
  }

  /** A topic is one line, even if it wraps on the screen. */
  #topicKey(event) {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  }

  /** Ask again, since something was changed. */
  async refresh() {
    if (!this.#dialog.open) return;
    const log = this.#log;
    await this.#chat.describe(log).catch(() => {});
    const roster = await this.#chat.roster(log).catch(() => []);
    if (log !== this.#log) return;
    this.#fill();
    this.#list(roster);
  }

  #fill() {
    const log = this.#log;
    const form = this.#dialog.querySelector(".about-form");
    const { topic, access } = form.elements;
    if (document.activeElement !== topic) topic.value = log.topic;
    topic.hidden = !may(log, "moderate");
    const text = form.querySelector(".topic-text");
    text.hidden = !topic.hidden;
    text.replaceChildren(...linked(log.topic || "None"));
    access.value = log.info?.access ?? "public";
    access.disabled = !may(log, "own");
    form.querySelector(".actions").hidden = !may(log, "moderate");
    this.#dialog.querySelector(".explains").textContent = ACCESS[access.value];
    this.#dialog.querySelector(".invite-form").hidden = !may(log, "moderate");
    const role = log.info?.role ? `You are ${log.info.role} here.` : may(log, "own") ? "As an admin you can do everything here that an owner can." : "";
    this.#dialog.querySelector(".role-here").textContent = role;
  }

  #list(roster) {
    const rows = roster.map((occupant) => {
      const marks = [occupant.role, occupant.muted && "muted", occupant.banned && "banned", occupant.guest && "guest"].filter(Boolean);
      const name = element("bdi", { class: "person" }, occupant.name);
      const who = [avatar(occupant.name), name, ...marks.map((mark) => element("span", { class: `mark ${mark}` }, mark))];
      return element("li", {}, element("button", { type: "button", onclick: () => this.#onPerson(occupant) }, ...who));
    });
    this.#dialog.querySelector(".roster").replaceChildren(...rows);
    this.#dialog.querySelector(".nobody").hidden = rows.length > 0;
  }

  #on(selector, action) {
    const form = this.#dialog.querySelector(selector);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const problem = await action(form).then(() => "", inWords);
      const place = form.querySelector(".problem");
      place.textContent = problem;
      place.hidden = problem === "";
      if (problem === "") await this.refresh();
    });
    form.querySelector("select")?.addEventListener("change", ({ target }) => {
      this.#dialog.querySelector(".explains").textContent = ACCESS[target.value];
    });
  }

  async #save(form) {
    const { topic, access } = form.elements;
    const log = this.#log;
    const changes = {};
    const line = topic.value.trim().replace(/\s*\n\s*/g, " ");
    if (!topic.hidden && line !== log.topic) changes.topic = line;
    if (!access.disabled && access.value !== log.info?.access) changes.access = access.value;
    if (Object.keys(changes).length > 0) await this.#chat.moderate("set", { room: log.name, ...changes });
    topic.blur();
  }

  async #invite(form) {
    const { name } = form.elements;
    await this.#chat.moderate("invite", { room: this.#log.name, name: name.value.trim() });
    name.value = "";
  }
}
