/** Names after @ and emoji after : while typing, in a list that never takes the focus from the text. */

import { avatar, element } from "./dom.js";
import { EMOJI } from "./emoji.js";

const MOST = 8;
const WORD = /(?:^|[\s(])([@:])([\p{L}\p{M}\p{Nd}._+-]{0,32})$/u;

export class Completion {
  #field;
  #list;
  #names;
  #found = [];
  #chosen = 0;
  /** Where the word that is completed begins, and where it ends: at the cursor. */
  #from = 0;
  #end = 0;

  /**
   * @param {object} parts
   * @param {HTMLTextAreaElement} parts.field
   * @param {HTMLElement} parts.list with role=listbox
   * @param {() => string[]} parts.names to suggest, "room" for everybody among them
   */
  constructor({ field, list, names }) {
    this.#field = field;
    this.#list = list;
    this.#names = names;
    list.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the field keeps the focus
      const option = event.target.closest("[role=option]");
      if (option) this.#take(Number(option.dataset.index));
    });
    field.addEventListener("blur", () => this.close());
    document.addEventListener("selectionchange", () => this.#isThere || this.close());
  }

  /** The text has changed. */
  update() {
    const { value, selectionStart, selectionEnd } = this.#field;
    const match = selectionStart === selectionEnd ? WORD.exec(value.slice(Math.max(0, selectionStart - 40), selectionStart)) : null;
    this.#found = match === null ? [] : match[1] === "@" ? this.#people(match[2]) : emoji(match[2]);
    this.#from = match === null ? 0 : selectionStart - match[2].length - 1;
    this.#end = selectionStart;
    this.#chosen = 0;
    this.#render();
  }

  /** Handle a key; true if it was for the list. */
  key(event) {
    if (this.#found.length === 0 || event.isComposing || !this.#isThere) return false;
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return false;
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key] ?? 0;
    if (by !== 0) {
      this.#chosen = (this.#chosen + by + this.#found.length) % this.#found.length;
      this.#render();
    } else if (event.key === "Enter" || event.key === "Tab") this.#take(this.#chosen);
    else if (event.key === "Escape") this.close();
    else return false;
    event.preventDefault();
    return true;
  }

  close() {
    if (this.#found.length === 0) return;
    this.#found = [];
    this.#render();
  }

  /** True while the cursor is where the word ends; if it is elsewhere, nothing can be completed. */
  get #isThere() {
    const { selectionStart, selectionEnd } = this.#field;
    return selectionStart === this.#end && selectionEnd === this.#end;
  }

  /** A name that is written out comes first, so that it does not become a longer one. */
  #people(start) {
    const wanted = start.toLowerCase();
    const longer = (name) => Number(name.toLowerCase() !== wanted);
    const names = [...new Set(this.#names())].filter((name) => name.toLowerCase().startsWith(wanted)).sort((a, b) => longer(a) - longer(b));
    if (names.length === 1 && names[0] === start) return [];
    return names.slice(0, MOST).map((name) => ({ text: `@${name} `, label: name, mark: name === "room" ? element("span", { class: "mark" }, "@") : avatar(name) }));
  }

  #take(index) {
    const { value } = this.#field;
    const { text } = this.#found[index];
    this.#field.value = value.slice(0, this.#from) + text + value.slice(this.#end);
    this.#field.selectionStart = this.#field.selectionEnd = this.#from + text.length;
    this.close();
    this.#field.dispatchEvent(new Event("input"));
  }

  #render() {
    const open = this.#found.length > 0;
    this.#list.hidden = !open;
    const options = this.#found.map(({ label, mark }, index) =>
      element("li", { role: "option", id: `completion-${index}`, "data-index": String(index), "aria-selected": String(index === this.#chosen) }, mark, element("bdi", {}, label)),
    );
    this.#list.replaceChildren(...options);
    if (open) this.#field.setAttribute("aria-activedescendant", `completion-${this.#chosen}`);
    else this.#field.removeAttribute("aria-activedescendant");
  }
}

function emoji(start) {
  if (start.length < 2) return [];
  const wanted = start.toLowerCase();
  const all = EMOJI.flatMap(({ entries }) => entries);
  const found = [...all.filter(({ name }) => name.startsWith(wanted)), ...all.filter(({ name }) => name.indexOf(wanted) > 0)];
  return found.slice(0, MOST).map((entry) => ({ text: `${entry.emoji} `, label: `:${entry.name}:`, mark: element("span", { class: "mark" }, entry.emoji) }));
}
