/** The small dialogs: who I am, which room to go to, and whether I mean it. */

import { ACCESS } from "./access.js";
import { randomKey } from "./client/outbox.js";
import { guestNameProblem, roomName } from "./client/text.js";
import { CODE, inWords } from "./client/words.js";

/** Show in a form what is wrong with a field; "" removes the message. */
function complain(form, field, problem) {
  const place = form.querySelector(".problem");
  place.textContent = problem;
  place.hidden = problem === "";
  field.setAttribute("aria-invalid", String(problem !== ""));
  if (problem !== "") field.focus();
}

/** A click beside a dialog closes it, as Escape does; so do its own close buttons. */
function closable(dialog) {
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest(".dismiss")) dialog.close();
  });
}

export class RoomDialog {
  #dialog;
  #form;
  #chat;
  /** The room that is being started; null if there is none, or if it is no longer wanted. */
  #attempt = null;
  /** Sent with every attempt to start the same room, so that a lost answer does no harm. */
  #key = { room: "", access: "", key: "" };

  /**
   * @param {HTMLDialogElement} dialog
   * @param {import("./client/chat.js").Chat} chat
   * @param {(room: string, remark: string) => void} onChoose the remark is a sentence, or ""
   */
  constructor(dialog, chat, onChoose) {
    this.#dialog = dialog;
    this.#form = dialog.querySelector("form");
    this.#chat = chat;
    closable(dialog);
    const { room, access } = this.#form.elements;
    room.addEventListener("input", () => complain(this.#form, room, ""));
    access.addEventListener("change", () => this.#explain());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#choose(onChoose);
    });
  }

  open() {
    this.#attempt = null;
    this.#form.querySelector("button[type=submit]").disabled = false;
    this.#form.reset();
    complain(this.#form, this.#form.elements.room, "");
    // A guest could not own the room, nor be a member of it.
    this.#form.querySelector(".audience").hidden = this.#chat.identity?.guest !== false;
    this.#explain();
    this.#dialog.showModal();
  }

  #explain() {
    const { value } = this.#form.elements.access;
    this.#form.querySelector(".explains").textContent = ACCESS[value];
    const begins = value === "public" ? "with its first message" : "at once, and you own it";
    this.#form.querySelector(".lead").textContent = `A new room starts ${begins}.`;
  }

  async #choose(onChoose) {
    const { room, access } = this.#form.elements;
    const button = this.#form.querySelector("button[type=submit]");
    const { name, problem } = roomName(room.value);
    const attempt = {};
    this.#attempt = attempt;
    button.disabled = true;
    const { trouble = problem, remark = "" } = problem === "" ? await this.#start(name, access.value) : {};
    // If the dialog was closed meanwhile, the user no longer wants to go there.
    if (this.#attempt !== attempt || !this.#dialog.open) return;
    button.disabled = false;
    complain(this.#form, room, trouble);
    if (trouble !== "") return;
    this.#dialog.close();
    onChoose(name, remark);
  }

  /**
   * A room that is not public must be created explicitly: if its first message created it, it would be public.
   *
   * @returns {Promise<{trouble?: string, remark?: string}>} what is wrong, or what to tell the user
   */
  async #start(room, access) {
    if (access === "public") return {};
    if (this.#key.room !== room || this.#key.access !== access) this.#key = { room, access, key: randomKey() };
    try {
      await this.#chat.rpc.call("room.set", { room, access, create: true }, { key: this.#key.key });
      return {};
    } catch (error) {
      if (error.code === CODE.conflict) return { remark: `#${room} already exists; its access has not changed.` };
      return { trouble: error.code === CODE.notFound ? "This name is taken." : inWords(error) };
    }
  }
}

export class ConfirmDialog {
  #dialog;
  #answer = () => {};

  /** @param {HTMLDialogElement} dialog */
  constructor(dialog) {
    this.#dialog = dialog;
    closable(dialog);
    dialog.addEventListener("close", () => this.#answer(dialog.returnValue === "yes"));
  }

  /**
   * @param {{title: string, text: string, action: string}} question
   * @returns {Promise<boolean>} false also for Escape
   */
  ask({ title, text, action }) {
    this.#dialog.querySelector("h2").textContent = title;
    this.#dialog.querySelector(".lead").textContent = text;
    this.#dialog.querySelector("[value=yes]").textContent = action;
    this.#dialog.returnValue = "";
    this.#dialog.showModal();
    return new Promise((resolve) => {
      this.#answer = resolve;
    });
  }
}

export class AccountDialog {
  #dialog;
  #chat;

  /**
   * @param {HTMLDialogElement} dialog
   * @param {import("./client/chat.js").Chat} chat
   */
  constructor(dialog, chat) {
    this.#dialog = dialog;
    this.#chat = chat;
    closable(dialog);
    this.#on(".as-guest", (form) => this.#rename(form));
    this.#on(".as-user", (form) => this.#signIn(form));
    this.#on(".signed-in", (form) => this.#signOut(form));
  }

  /** @param {string} [problem] why it opened by itself */
  open(problem = "") {
    this.render();
    for (const form of this.#dialog.querySelectorAll("form")) form.querySelector(".problem").hidden = true;
    const guest = this.#dialog.querySelector(".as-guest");
    if (this.#chat.identity?.guest) guest.elements.guest.value = this.#chat.identity.name;
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#dialog.querySelector("form:not([hidden])").querySelector("input, button").focus();
    if (problem !== "") complain(guest, guest.elements.guest, problem);
  }

  /** Show the forms that make sense for who I am. */
  render() {
    const { identity, rpc } = this.#chat;
    const refused = rpc.state.name === "refused";
    const member = !refused && identity !== null && !identity.guest;
    this.#dialog.querySelector(".as-guest").hidden = refused || !identity?.guest;
    this.#dialog.querySelector(".as-user").hidden = member;
    this.#dialog.querySelector(".signed-in").hidden = !member;
    if (member) this.#dialog.querySelector(".signed-in .who").textContent = `${identity.name} (${identity.roles.join(", ")})`;
  }

  /** Run a form's action, one at a time. */
  #on(selector, action) {
    const form = this.#dialog.querySelector(selector);
    const button = form.querySelector("button[type=submit]");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        await action(form);
      } finally {
        button.disabled = false;
      }
    });
  }

  async #rename(form) {
    const field = form.elements.guest;
    const name = field.value.trim();
    const problem = guestNameProblem(name) || (await this.#chat.rename(name).then(() => "", inWords));
    complain(form, field, problem);
    if (problem === "") this.#dialog.close();
  }

  async #signIn(form) {
    const { name, password } = form.elements;
    const problem = await this.#chat.signIn(name.value.trim(), password.value);
    complain(form, password, problem);
    if (problem !== "") return;
    form.reset();
    this.#dialog.close();
  }

  async #signOut(form) {
    const button = form.querySelector("button[type=submit]");
    const problem = await this.#chat.signOut();
    complain(form, button, problem);
    if (problem === "") this.#dialog.close();
  }
}
