/** A small dialog of emoji: by name, by arrow keys, by touch. */

import { element } from "./dom.js";
import { findEmoji, nameOf, QUICK } from "./emoji.js";

const COLUMNS = 8;
const MARGIN = 8;

export class EmojiPicker {
  #dialog;
  #field;
  #grid;
  #choose = () => {};

  /** @param {HTMLDialogElement} dialog with a search field and a `.grid` */
  constructor(dialog) {
    this.#dialog = dialog;
    this.#field = dialog.querySelector("input");
    this.#grid = dialog.querySelector(".grid");
    this.#field.addEventListener("input", () => this.#fill());
    this.#grid.addEventListener("click", (event) => this.#clicked(event));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("keydown", (event) => this.#key(event));
  }

  /**
   * @param {HTMLElement} opener the picker opens beside this
   * @param {(emoji: string) => void} choose called with the chosen one
   */
  open(opener, choose) {
    this.#choose = choose;
    this.#field.value = "";
    this.#fill();
    this.#dialog.showModal();
    this.#standBeside(opener.getBoundingClientRect());
    if (matchMedia("(pointer: fine)").matches) this.#field.focus();
  }

  /** On narrow screens the style sheet puts it at the bottom. */
  #standBeside({ top, bottom, left, right }) {
    const { style } = this.#dialog;
    const { width, height } = this.#dialog.getBoundingClientRect();
    const below = bottom + MARGIN + height < innerHeight;
    style.setProperty("--top", `${below ? bottom + MARGIN : Math.max(MARGIN, top - MARGIN - height)}px`);
    const wanted = left + right < innerWidth ? left : right - width;
    style.setProperty("--left", `${Math.min(Math.max(MARGIN, wanted), innerWidth - width - MARGIN)}px`);
  }

  #fill() {
    const groups = findEmoji(this.#field.value);
    const quick = this.#field.value === "" ? [group("Often", QUICK.map((emoji) => ({ emoji })))] : [];
    const found = groups.map(({ heading, entries }) => group(heading, entries));
    if (found.length === 0) found.push(element("p", { class: "nothing" }, "No emoji by that name."));
    this.#grid.replaceChildren(...quick, ...found);
  }

  #clicked(event) {
    const emoji = event.target.closest("button")?.dataset.emoji;
    if (emoji) this.#take(emoji);
  }

  #take(emoji) {
    this.#dialog.close();
    this.#choose(emoji);
  }

  #key(event) {
    const buttons = [...this.#grid.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    if (event.key === "Enter" && at < 0 && buttons.length > 0) {
      event.preventDefault();
      this.#take(buttons[0].dataset.emoji);
      return;
    }
    const inField = document.activeElement === this.#field;
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLUMNS, ArrowDown: COLUMNS }[event.key] ?? 0;
    if (by === 0 || (inField && event.key !== "ArrowDown")) return;
    event.preventDefault();
    const to = inField ? 0 : at + by;
    if (to < 0) this.#field.focus();
    else buttons[Math.min(to, buttons.length - 1)]?.focus();
  }
}

function group(heading, entries) {
  const buttons = entries.map(({ emoji }) => element("button", { type: "button", "data-emoji": emoji, "aria-label": nameOf(emoji), title: nameOf(emoji) }, emoji));
  return element("section", { "aria-label": heading }, element("h3", {}, heading), element("div", { class: "emoji-row" }, ...buttons));
}
