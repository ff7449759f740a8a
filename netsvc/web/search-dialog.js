/** Finding messages: a dialog with a query, hints for it, and results that link to the messages. */

import { formatFull, formatWhen } from "./client/text.js";
import { CODE, inWords } from "./client/words.js";
import { plain } from "./content.js";
import { avatar, element, hueOf } from "./dom.js";

const PAGE = 20;
/** Milliseconds after the last key before the search starts. */
const PAUSE = 250;
/** How much of a long message is shown, around the first match. */
const LONGEST = 240;
const BEFORE_MATCH = 60;

export class SearchDialog {
  #dialog;
  #field;
  #list;
  #status;
  #more;
  #chat;
  #onChoose;
  #timer = null;
  /** The newest query: answers to earlier ones are ignored. */
  #question = null;
  /** The query of the results, and where they continue. */
  #query = "";
  #room = "";
  #cursor = "";

  /**
   * @param {HTMLDialogElement} dialog
   * @param {import("./client/chat.js").Chat} chat
   * @param {(room: string, seq: number) => void} onChoose
   */
  constructor(dialog, chat, onChoose) {
    this.#dialog = dialog;
    this.#chat = chat;
    this.#onChoose = onChoose;
    this.#field = dialog.querySelector("input");
    this.#list = dialog.querySelector("ol");
    this.#status = dialog.querySelector(".status");
    this.#more = dialog.querySelector(".more");
    this.#field.addEventListener("input", () => this.#soon());
    this.#more.addEventListener("click", () => this.#further());
    dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#now();
    });
    dialog.addEventListener("click", (event) => this.#clicked(event));
    dialog.addEventListener("keydown", (event) => this.#key(event));
    chat.forgotten.add(() => this.#clear());
  }

  /** @param {string} room on the screen */
  open(room) {
    this.#room = room;
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#field.select();
    this.#field.focus();
  }

  #soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#now(), PAUSE);
  }

  #now() {
    clearTimeout(this.#timer);
    this.#search(this.#field.value.trim());
  }

  /** Clear query and results: the user has changed. */
  #clear() {
    clearTimeout(this.#timer);
    this.#field.value = "";
    this.#search("");
  }

  async #search(query) {
    this.#query = query;
    this.#complain(false);
    this.#busy(false);
    try {
      const found = await this.#ask({});
      if (found !== null) this.#take(found);
    } catch (error) {
      this.#complain(error.code === CODE.invalidParams);
      this.#show([], [], error.code === -32601 ? "This server has no search." : inWords(error));
    }
  }

  /** Add the next page below, and move to its first message; what is already there stays in any case. */
  async #further() {
    if (this.#more.getAttribute("aria-disabled") === "true") return;
    const before = [...this.#list.children];
    this.#busy(true);
    try {
      const found = await this.#ask({ before: this.#cursor });
      if (found === null) return;
      // A hidden button loses the focus.
      const focused = document.activeElement === this.#more;
      this.#take(found, before);
      if (focused) (this.#list.children[before.length] ?? this.#list.lastElementChild).querySelector("button").focus();
    } catch (error) {
      this.#status.textContent = inWords(error);
    }
    this.#busy(false);
  }

  /** The answer, or null if there is a newer query by now; rejects like a call, but only if there is none. */
  async #ask(place) {
    const question = {};
    this.#question = question;
    if (this.#query === "") return { events: [], cursor: "", more: false };
    this.#status.textContent = "Searching…";
    try {
      const found = await this.#chat.search(this.#query, { limit: PAGE, ...place });
      return this.#question === question ? found : null;
    } catch (error) {
      if (this.#question === question) throw error;
      return null;
    }
  }

  #complain(isWrong) {
    this.#field.setAttribute("aria-invalid", String(isWrong));
  }

  /** A button that is disabled would lose the focus. */
  #busy(isBusy) {
    this.#more.setAttribute("aria-disabled", String(isBusy));
  }

  #take({ events, highlights = [], cursor, more }, before = []) {
    this.#cursor = cursor;
    const count = before.length + events.length;
    const words = count === 0 ? "Nothing found." : `${count}${more ? " or more" : ""} ${count === 1 ? "message" : "messages"}, newest first`;
    const rows = events.map((event, i) => this.#result(event, highlights[i] ?? []));
    this.#show(before, rows, this.#query === "" ? "" : words);
    this.#more.hidden = !more;
  }

  #show(before, rows, words) {
    this.#list.replaceChildren(...before, ...rows);
    this.#status.textContent = words;
    this.#more.hidden = true;
  }

  #result(event, highlights) {
    const date = new Date(event.at);
    const head = element(
      "span",
      { class: "head" },
      element("bdi", { class: `name hue-${hueOf(event.from)}` }, event.from),
      element("span", { class: "where" }, " in ", element("bdi", {}, `#${event.room}`)),
      element("time", { datetime: event.at, title: formatFull(date) }, formatWhen(date, new Date())),
    );
    const attributes = { type: "button", "data-room": event.room, "data-seq": String(event.seq) };
    return element("li", {}, element("button", attributes, avatar(event.from), head, element("span", { class: "words", dir: "auto" }, ...excerpt(event.text ?? "", highlights))));
  }

  #clicked(event) {
    const hint = event.target.closest("[data-hint]");
    if (event.target === this.#dialog || event.target.closest(".dismiss")) this.#dialog.close();
    else if (hint) this.#hint(hint.dataset.hint);
    else this.#chosen(event.target.closest("button[data-seq]"));
  }

  #hint(text) {
    const words = text === "in:" ? `in:${this.#room} ` : text;
    const { value } = this.#field;
    this.#field.value = value === "" || value.endsWith(" ") ? value + words : `${value} ${words}`;
    this.#field.focus();
    this.#soon();
  }

  #chosen(button) {
    if (button === null) return;
    this.#dialog.close();
    this.#onChoose(button.dataset.room, Number(button.dataset.seq));
  }

  /** Up and down move through the results. */
  #key(event) {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key] ?? 0;
    if (by === 0) return;
    const buttons = [...this.#list.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement) + by;
    event.preventDefault();
    if (at < 0) this.#field.focus();
    else buttons[Math.min(at, buttons.length - 1)]?.focus();
  }
}

/** The part of a text around its first match, with the matches marked; places count code points. */
function excerpt(text, highlights) {
  const chars = [...text];
  const first = highlights[0]?.[0] ?? 0;
  const from = first > LONGEST - BEFORE_MATCH ? first - BEFORE_MATCH : 0;
  const end = Math.min(chars.length, from + LONGEST);
  const parts = from > 0 ? ["…"] : [];
  let done = from;
  for (const [start, stop] of highlights) {
    if (start < done || stop > end) continue;
    parts.push(...plain(chars.slice(done, start).join("")), element("mark", {}, ...plain(chars.slice(start, stop).join(""))));
    done = stop;
  }
  parts.push(...plain(chars.slice(done, end).join("")));
  if (end < chars.length) parts.push("…");
  return parts;
}

