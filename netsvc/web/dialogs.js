/** The small dialogs: who I am, which room to go to, and whether I mean it. */

import { guestNameProblem, roomName } from "./client/text.js";
import { inWords } from "./client/words.js";

/** Say in a form what is wrong with a field; "" takes it back. */
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

  /**
   * @param {HTMLDialogElement} dialog
   * @param {(room: string) => void} onChoose
   */
  constructor(dialog, onChoose) {
    this.#dialog = dialog;
    this.#form = dialog.querySelector("form");
    closable(dialog);
    const field = this.#form.elements.room;
    field.addEventListener("input", () => complain(this.#form, field, ""));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const { name, problem } = roomName(field.value);
      complain(this.#form, field, problem);
      if (problem !== "") return;
      dialog.close();
      onChoose(name);
    });
  }

  open() {
    this.#form.reset();
    complain(this.#form, this.#form.elements.room, "");
    this.#dialog.showModal();
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

  /** Run a form's action once at a time. */
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
    password.value = "";
    this.#dialog.close();
  }

  async #signOut(form) {
    const button = form.querySelector("button[type=submit]");
    const problem = await this.#chat.signOut();
    complain(form, button, problem);
    if (problem === "") this.#dialog.close();
  }
}
