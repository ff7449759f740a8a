/** Where messages are written: grows with the text, sends with Enter, keeps a draft for each room; answers and edits messages. */

import { PersonalStorage } from "./client/storage.js";
import { byteLength, formatBytes, TEXT_LIMIT } from "./client/text.js";
import { Completion } from "./completion.js";
import { plain } from "./content.js";
import { summary } from "./markdown.js";

const DRAFT = "netsvc.draft.";
/** With fewer bytes left than this, the number is shown. */
const NEAR_LIMIT = 1024;

/** @typedef {import("./client/rooms.js").RoomEvent} RoomEvent */

export class Composer {
  #form;
  #field;
  #hint;
  #send;
  #about;
  #drafts;
  #on;
  #completion;
  #room = "";
  /** @type {{kind: "reply" | "edit", event: RoomEvent} | null} */
  #mode = null;
  /** By room, answers and corrections that were begun there and wait, the last one last: {mode, text, problem}. */
  #begun = new Map();

  /**
   * @param {object} parts
   * @param {HTMLFormElement} parts.form with a textarea, a submit button, a place for the hint, and one for the message that is answered or edited
   * @param {HTMLElement} parts.completion a listbox over the log
   * @param {import("./client/storage.js").SafeStorage} parts.drafts of all users of this browser; each sees their own
   * @param {object} parts.on what to do: `post(text, replyTo)`, `edit(event, text)` (a promise of "" or of what went wrong),
   *   `typing()`, `editLast()` when Arrow Up is pressed in an empty field, `names()` for completion, `pick(opener, take)` an emoji,
   *   `say(sentence)` a short notice
   */
  constructor({ form, completion, drafts, on }) {
    this.#form = form;
    this.#field = form.querySelector("textarea");
    this.#hint = form.querySelector(".hint");
    this.#send = form.querySelector("button[type=submit]");
    this.#about = form.querySelector(".about");
    this.#drafts = new PersonalStorage(drafts);
    this.#on = on;
    this.#completion = new Completion({ field: this.#field, list: completion, names: on.names });
    this.#field.addEventListener("input", () => this.#typed());
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    this.#about.querySelector("button").addEventListener("click", () => this.#goOn());
    const emoji = form.querySelector(".emoji-button");
    emoji.addEventListener("click", () => on.pick(emoji, (chosen) => this.insert(chosen)));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  /** Write to another room from now on. */
  open(room) {
    this.#putAside();
    this.#completion.close();
    this.#room = room;
    this.#form.querySelector("label").textContent = `Message to #${room}`;
    this.#field.placeholder = `Message #${room}`;
    this.#resume();
  }

  /** Switch to another user. Text typed before the user was known is theirs; text of others is not shown. */
  belongTo(whose) {
    const typed = this.#drafts.whose === null ? this.#field.value : "";
    if (whose === this.#drafts.whose) this.abandon(this.#room);
    else this.#begun.clear();
    this.#drafts.whose = whose;
    this.#mode = null;
    this.#field.value = joined(this.#draftOf(this.#room), typed);
    this.#completion.close();
    this.#showMode();
    this.#changed();
  }

  /** True if the field is empty. */
  get isEmpty() {
    return this.#field.value === "";
  }

  focus() {
    this.#field.focus({ preventScroll: true });
  }

  /** Answer a message with what is written next. */
  reply(event) {
    if (this.#mode?.kind === "edit") {
      this.#putAside();
      this.#field.value = this.#draftOf(this.#room);
    }
    this.#mode = { kind: "reply", event };
    this.#showMode();
    this.#changed();
    this.focus();
  }

  /** Edit a message; the draft waits, and so does what was begun before. */
  edit(event) {
    if (this.#mode?.kind === "edit" && this.#mode.event.seq === event.seq) {
      this.focus();
      return;
    }
    this.#putAside();
    this.#mode = { kind: "edit", event };
    this.#field.value = event.text ?? "";
    this.#showMode();
    this.#changed();
    this.focus();
    this.#field.selectionStart = this.#field.value.length;
  }

  /** A message is gone: it is no longer answered or edited. What was written for it stays, as a draft. */
  forget(room, seq) {
    const kind = room === this.#room && this.#mode?.event.seq === seq ? this.#mode.kind : null;
    if (kind !== null) this.#putAside();
    const begun = this.#begun.get(room) ?? [];
    const gone = begun.filter(({ mode }) => mode.event.seq === seq);
    if (gone.length > 0) this.#begun.set(room, begun.filter((each) => !gone.includes(each)));
    for (const { mode, text } of gone) if (mode.kind === "edit") this.#addToDraft(room, text);
    if (kind === null) return;
    this.#resume();
    this.#on.say(`The message that you were ${kind === "edit" ? "editing" : "answering"} was deleted.`);
  }

  /** A room is no longer open to the user: forget the messages there that were being answered or edited. */
  abandon(room) {
    this.#begun.delete(room);
  }

  /** Insert text at the cursor. */
  insert(text) {
    const { selectionStart, selectionEnd } = this.#field;
    this.#field.setRangeText(text, selectionStart, selectionEnd, "end");
    this.focus();
    this.#typed();
  }

  #key(event) {
    if (this.#completion.key(event)) return;
    if (event.key === "Escape" && this.#mode !== null) {
      event.preventDefault();
      event.stopPropagation();
      this.#goOn();
    } else if (event.key === "ArrowUp" && this.#field.value === "" && this.#mode === null) {
      if (this.#on.editLast()) event.preventDefault();
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      // While an input method composes, Enter belongs to it.
      event.preventDefault();
      this.#submit();
    }
  }

  async #submit() {
    const text = this.#field.value.trim();
    if (text === "" || byteLength(text) > TEXT_LIMIT) {
      this.focus();
      return;
    }
    if (this.#mode?.kind === "edit") {
      await this.#correct(this.#mode.event, text);
      return;
    }
    const replyTo = this.#mode?.event.seq ?? 0;
    this.#field.value = "";
    this.#mode = null;
    this.#changed();
    this.#on.post(text, replyTo);
    this.#goOn();
  }

  /** Whatever is typed while the correction is on its way is the next message; if it fails, it is there to be tried again. */
  async #correct(event, text) {
    const room = this.#room;
    const { whose } = this.#drafts;
    this.#goOn();
    if (text === event.text) return;
    const { value } = this.#field;
    const problem = await this.#on.edit(event, text);
    if (problem === "" || whose !== this.#drafts.whose) return;
    this.#begin(room, { mode: { kind: "edit", event }, text, problem });
    if (room === this.#room && this.#mode === null && this.#field.value === value) this.#resume();
    else this.#on.say(`Your correction was not saved, and waits until you have finished this: ${problem}`);
  }

  #begin(room, begun) {
    this.#begun.set(room, [...(this.#begun.get(room) ?? []), begun]);
  }

  /** What is begun here waits, unless nothing was corrected yet. */
  #putAside() {
    const mode = this.#mode;
    const text = this.#field.value;
    this.#mode = null;
    if (mode?.kind === "reply" || (mode !== null && text !== mode.event.text)) this.#begin(this.#room, { mode, text, problem: "" });
  }

  /** The message, answer or correction is done, or dropped. */
  #goOn() {
    this.#resume();
    this.focus();
  }

  /** Go on with what was begun last in this room, or else with the draft. */
  #resume() {
    const { mode = null, text = "", problem = "" } = this.#begun.get(this.#room)?.pop() ?? {};
    this.#mode = mode;
    this.#field.value = mode?.kind === "edit" ? text : this.#draftOf(this.#room);
    this.#showMode();
    this.#changed();
    if (problem !== "") this.#say(problem, true);
  }

  #draftOf(room) {
    return this.#drafts.getItem(DRAFT + room) ?? "";
  }

  #addToDraft(room, text) {
    const whole = joined(this.#draftOf(room), text);
    this.#drafts.setItem(DRAFT + room, whole);
    if (room === this.#room && this.#mode?.kind !== "edit") this.#field.value = whole;
  }

  #showMode() {
    const { kind, event } = this.#mode ?? {};
    this.#about.hidden = kind === undefined;
    this.#about.querySelector(".what").textContent = kind === "edit" ? "Editing your message" : "Replying to ";
    this.#about.querySelector(".whom").textContent = kind === "reply" ? event.from : "";
    this.#about.querySelector(".words").replaceChildren(...plain(kind === undefined ? "" : summary(event.text ?? "")));
    this.#about.querySelector("button").setAttribute("aria-label", kind === "edit" ? "Stop editing" : "Cancel reply");
    this.#send.setAttribute("aria-label", kind === "edit" ? "Save" : "Send");
  }

  #typed() {
    this.#changed();
    this.#completion.update();
    if (this.#field.value.trim() !== "" && this.#mode?.kind !== "edit") this.#on.typing();
  }

  #changed() {
    const text = this.#field.value;
    if (this.#mode?.kind !== "edit") {
      if (text === "") this.#drafts.removeItem(DRAFT + this.#room);
      else this.#drafts.setItem(DRAFT + this.#room, text);
    }
    const left = TEXT_LIMIT - byteLength(text.trim());
    this.#say(limitInWords(left), left < 0);
    this.#send.disabled = left < 0 || text.trim() === "";
    this.#grow();
  }

  #say(words, isProblem) {
    this.#hint.textContent = words;
    this.#hint.classList.toggle("problem", isProblem);
    this.#field.setAttribute("aria-invalid", String(isProblem));
  }

  /** Set the height for browsers without `field-sizing: content`. */
  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }
}

/** Two texts as one: each on lines of its own. */
function joined(...texts) {
  return texts.filter((text) => text !== "").join("\n");
}

/** @param {number} left bytes */
function limitInWords(left) {
  if (left < 0) return `Too long by ${formatBytes(-left)}. Split it into several messages.`;
  return left < NEAR_LIMIT ? `${formatBytes(left)} left` : "";
}
