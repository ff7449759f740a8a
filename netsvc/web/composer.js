/** Where messages are written: grows with the text, sends with Enter, keeps a draft for each room. */

import { byteLength, formatBytes, TEXT_LIMIT } from "./client/text.js";

const DRAFT = "netsvc.draft.";
/** With fewer bytes left than this the rest is shown. */
const NEAR_LIMIT = 1024;

export class Composer {
  #form;
  #field;
  #hint;
  #send;
  #drafts;
  #onPost;
  #room = "";

  /**
   * @param {object} parts
   * @param {HTMLFormElement} parts.form with a textarea, a submit button and a place for the hint
   * @param {import("./client/storage.js").SafeStorage} parts.drafts
   * @param {(text: string) => void} parts.onPost
   */
  constructor({ form, drafts, onPost }) {
    this.#form = form;
    this.#field = form.querySelector("textarea");
    this.#hint = form.querySelector(".hint");
    this.#send = form.querySelector("button[type=submit]");
    this.#drafts = drafts;
    this.#onPost = onPost;
    this.#field.addEventListener("input", () => this.#changed());
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#post();
    });
  }

  /** Write to another room from now on. */
  open(room) {
    this.#room = room;
    this.#field.value = this.#drafts.getItem(DRAFT + room) ?? "";
    this.#form.querySelector("label").textContent = `Message to #${room}`;
    this.#field.placeholder = `Message #${room}`;
    this.#changed();
  }

  focus() {
    this.#field.focus({ preventScroll: true });
  }

  #key(event) {
    // While an input method composes, Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#post();
  }

  #post() {
    const text = this.#field.value.trim();
    if (text === "" || byteLength(text) > TEXT_LIMIT) {
      this.focus();
      return;
    }
    this.#field.value = "";
    this.#changed();
    this.#onPost(text);
    this.focus();
  }

  #changed() {
    const text = this.#field.value;
    if (text === "") this.#drafts.removeItem(DRAFT + this.#room);
    else this.#drafts.setItem(DRAFT + this.#room, text);
    const left = TEXT_LIMIT - byteLength(text.trim());
    const tooLong = left < 0;
    this.#hint.textContent = limitInWords(left);
    this.#hint.classList.toggle("problem", tooLong);
    this.#field.setAttribute("aria-invalid", String(tooLong));
    this.#send.disabled = tooLong || text.trim() === "";
    this.#grow();
  }

  /** Browsers without `field-sizing: content` are told the height. */
  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }
}

/** @param {number} left bytes */
function limitInWords(left) {
  if (left < 0) return `Too long by ${formatBytes(-left)}. Split it into several messages.`;
  return left < NEAR_LIMIT ? `${formatBytes(left)} left` : "";
}
