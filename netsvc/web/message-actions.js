/** The actions on a message: a toolbar at the message under the pointer or selected, keys for the selected one. */

import { copyToClipboard } from "./content.js";
import { pathOfRoom } from "./client/text.js";
import { inWords } from "./client/words.js";
import { element, icon } from "./dom.js";
import { QUICK } from "./emoji.js";
import { mayAmend } from "./rights.js";

const KEYS = { r: "reply", e: "edit", "+": "pick", ":": "pick", Delete: "delete", c: "link" };

export class MessageActions {
  #chat;
  #log;
  #list;
  #scroller;
  #picker;
  #do;
  #bar = null;
  /** The seq of the message that the bar is at; 0 for none. */
  #at = 0;
  /** What has the focus in the bar, "" if nothing has. */
  #inBar = "";

  /**
   * @param {object} parts
   * @param {import("./client/chat.js").Chat} parts.chat
   * @param {import("./log-view.js").LogView} parts.log
   * @param {HTMLElement} parts.scroller
   * @param {HTMLElement} parts.list
   * @param {import("./emoji-picker.js").EmojiPicker} parts.picker
   * @param {object} parts.actions what others do: `room()` on the screen, `reply(event)`, `edit(event)`, `confirm(question)`,
   *   `say(sentence)`, `jump(seq)`, `leave()` to the composer, `mayModerate()`, `lock()` why nothing can be written
   */
  constructor({ chat, log, scroller, list, picker, actions }) {
    this.#chat = chat;
    this.#log = log;
    this.#list = list;
    this.#scroller = scroller;
    this.#picker = picker;
    this.#do = actions;
    list.addEventListener("click", (event) => this.#clicked(event));
    list.addEventListener("focusin", (event) => this.#focused(event.target));
    list.addEventListener("focusout", (event) => this.#unfocused(event.relatedTarget));
    list.addEventListener("pointerover", (event) => event.pointerType !== "touch" && this.#pointed(event));
    scroller.addEventListener("pointerleave", () => this.#leftAlone());
    scroller.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Rows were made again: put the bar back where it was. */
  render() {
    if (this.#at !== 0) this.#attach(this.#at);
  }

  #pointed(event) {
    // While the focus is in the bar of one message, the pointer does not move the bar.
    if (this.#bar?.contains(document.activeElement)) return;
    const seq = seqAt(event.target);
    if (seq !== 0) this.#attach(seq);
  }

  /** The bar goes back to where the focus is; from a dialog the focus comes back into the bar. */
  #leftAlone() {
    if (document.querySelector("dialog[open]") === null) this.#attach(seqAt(document.activeElement));
  }

  /** The bar follows the focus; when its row was built again the focus goes back into it. */
  #focused(target) {
    const lost = this.#bar?.isConnected === false ? this.#inBar : "";
    this.#attach(seqAt(target));
    const inside = this.#bar?.contains(target);
    const again = inside ? null : [...(this.#bar?.querySelectorAll("button") ?? [])].find(({ dataset }) => dataset.focus === lost);
    this.#inBar = inside ? target.dataset.focus : "";
    again?.focus({ preventScroll: true });
  }

  /** Where nothing tells that the pointer leaves, the bar goes with the focus, except into a dialog: it would cover what is above it. */
  #unfocused(to) {
    const stays = to === null || this.#list.contains(to) || to.closest("dialog") !== null;
    if (!stays && matchMedia("(hover: none)").matches) this.#attach(0);
  }

  #attach(seq) {
    const row = seq > 0 ? this.#log.nodeOf(seq) : null;
    const event = row === null ? undefined : this.#event(seq);
    if (!event || event.deleted || !this.#chat.rooms.get(this.#do.room())?.joined) {
      this.#bar?.remove();
      this.#bar = null;
      this.#at = 0;
      return;
    }
    const what = this.#possible(event).join(" ");
    if (this.#at !== seq || this.#bar?.dataset.what !== what) {
      this.#bar?.remove();
      this.#bar = toolbar(event, what);
    }
    this.#at = seq;
    if (this.#bar.parentElement !== row) row.append(this.#bar);
    // If it would be out of view above the message, the bar is at its end.
    this.#bar.classList.remove("below");
    this.#bar.classList.toggle("below", this.#bar.getBoundingClientRect().top < this.#scroller.getBoundingClientRect().top);
  }

  #possible(event) {
    const own = mayAmend(this.#log.room, event, this.#chat.identity?.name);
    const lock = this.#do.lock();
    const found = lock === null ? ["quick", "pick", "reply"] : [];
    if (lock === null && own && event.type === "message") found.push("edit");
    found.push("link");
    if (lock?.shut) return found;
    // Muted users may still delete what they have said.
    if (own || this.#do.mayModerate()) found.push("delete");
    return found;
  }

  #event(seq) {
    return this.#chat.rooms.get(this.#do.room())?.find(seq) ?? undefined;
  }

  #clicked(event) {
    const button = event.target.closest("[data-action]");
    const row = event.target.closest("li[data-key]");
    if (button === null) {
      // A tap selects a message, so that touch users get the bar, too.
      if (row?.dataset.seq && !event.target.closest("a, button, pre") && String(getSelection()) === "") row.focus({ preventScroll: true });
      return;
    }
    this.#run(button.dataset.action, row, button);
  }

  #run(action, row, button) {
    const { outbox } = this.#chat;
    const log = this.#chat.rooms.get(this.#do.room());
    if (action === "retry") outbox.retry(row.dataset.item);
    else if (action === "discard") outbox.discard(row.dataset.item);
    else if (action === "fill") this.#chat.fill(log, { from: Number(button.dataset.from), to: Number(button.dataset.to) }).catch(() => {});
    else if (action === "jump") this.#do.jump(Number(button.dataset.to));
    else this.#withMessage(action, this.#event(Number(row.dataset.seq)), button);
  }

  #withMessage(action, event, button) {
    if (!event) return;
    if (action === "react") this.#react(event, button.dataset.emoji);
    else if (action === "pick") this.#picker.open(button, (emoji) => this.#react(event, emoji, true));
    else if (action === "reply") this.#do.reply(event);
    else if (action === "edit") this.#do.edit(event);
    else if (action === "link") this.#copyLink(event);
    else if (action === "delete") this.#delete(event);
  }

  /** Take my reaction back if I have already given it; the picker only adds reactions. */
  #react(event, emoji, always = false) {
    const log = this.#chat.rooms.get(this.#do.room());
    const mine = log.reactionsTo(event.seq).some((known) => known.emoji === emoji && known.names.includes(this.#chat.identity?.name));
    if (mine && always) return;
    this.#try(this.#chat.react(log.name, event.seq, emoji, !mine));
  }

  async #copyLink({ seq }) {
    const link = `${location.origin}${pathOfRoom(this.#do.room())}#${seq}`;
    this.#do.say((await copyToClipboard(link)) ? "Link copied." : `The link is ${link}`);
  }

  async #delete(event) {
    const room = this.#do.room();
    const question = { title: "Delete this message?", text: "Its text is removed for everybody and for good.", action: "Delete" };
    if (await this.#do.confirm(question)) this.#try(this.#chat.remove(room, event.seq));
  }

  #try(call) {
    call.catch((error) => this.#do.say(inWords(error)));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const seq = seqAt(event.target);
    const inBar = this.#bar?.contains(event.target);
    if (inBar && this.#walkBar(event)) return;
    if (event.target !== this.#scroller && !event.target.matches("li[data-key]") && !inBar) return;
    if (event.key === "ArrowUp" || event.key === "ArrowDown") this.#step(event, seq);
    else if (event.key === "Escape" && seq !== 0) this.#do.leave();
    else if (seq !== 0 && event.target.matches("li")) this.#chosen(event, seq);
  }

  #step(event, seq) {
    const node = this.#log.step(seq, event.key === "ArrowUp" ? -1 : 1);
    event.preventDefault();
    if (node) node.focus({ preventScroll: true });
    else if (event.key === "ArrowDown") this.#do.leave();
  }

  #chosen(event, seq) {
    const message = this.#event(seq);
    const action = KEYS[event.key] ?? "";
    const button = this.#bar?.querySelector(`[data-action="${action}"]`);
    if (event.key === "Enter") this.#bar?.querySelector("button").focus();
    else if (action !== "" && button) this.#withMessage(action, message, button);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Left and right inside the bar; Escape goes back to the message. */
  #walkBar(event) {
    const buttons = [...this.#bar.querySelectorAll("button")];
    const at = buttons.indexOf(event.target);
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0;
    if (event.key === "Escape") this.#bar.parentElement.focus({ preventScroll: true });
    else if (by !== 0) buttons[(at + by + buttons.length) % buttons.length].focus();
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }
}

/** The seq of the message that a node belongs to, 0 for none. */
function seqAt(node) {
  return Number(node?.closest?.("li.message[data-seq]")?.dataset.seq ?? 0);
}

function toolbar(event, what) {
  const quick = QUICK.slice(0, 3).map((emoji) => {
    const attributes = { type: "button", class: "quick", "data-action": "react", "data-emoji": emoji, "data-focus": `quick ${emoji}` };
    return element("button", { ...attributes, "aria-label": `React with ${emoji}`, title: `React with ${emoji}` }, emoji);
  });
  const buttons = {
    quick,
    pick: tool("pick", "smile", "Add a reaction"),
    reply: tool("reply", "reply", "Reply"),
    edit: tool("edit", "edit", "Edit"),
    link: tool("link", "link", "Copy link"),
    delete: tool("delete", "trash", "Delete"),
  };
  const shown = what.split(" ").flatMap((name) => buttons[name]);
  return element("div", { class: "tools", role: "group", "aria-label": `Actions for the message from ${event.from}`, "data-what": what }, ...shown);
}

function tool(action, picture, words) {
  return element("button", { type: "button", class: action, "data-action": action, "data-focus": action, "aria-label": words, title: words }, icon(picture));
}
