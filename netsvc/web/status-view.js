/** The state of the connection: a word in the header, and a line with what to do about it when something is wrong. */

import { formatWait } from "./client/text.js";
import { refusalInWords } from "./client/words.js";

export class StatusView {
  #chat;
  #rpc;
  #pill;
  #banner;
  #said = "";

  /**
   * @param {object} parts
   * @param {import("./client/chat.js").Chat} parts.chat
   * @param {HTMLElement} parts.pill
   * @param {HTMLElement} parts.banner with `.what`, `.when` and two buttons, `.retry` and `.sign-in`
   */
  constructor({ chat, pill, banner }) {
    this.#chat = chat;
    this.#rpc = chat.rpc;
    this.#pill = pill;
    this.#banner = banner;
    banner.querySelector(".retry").addEventListener("click", () => this.#again());
    setInterval(() => this.#tick(), 500);
  }

  render() {
    const { state } = this.#rpc;
    const [word, kind] = this.#word(state);
    this.#pill.dataset.state = kind;
    this.#pill.lastElementChild.textContent = word;
    const trouble = this.#trouble(state);
    this.#banner.hidden = trouble === "";
    this.#banner.dataset.state = kind;
    // Written only when it changes, so that a screen reader says it once.
    if (trouble !== this.#said) this.#banner.querySelector(".what").textContent = trouble;
    this.#said = trouble;
    this.#banner.querySelector(".sign-in").hidden = state.name !== "refused";
    this.#tick();
  }

  #word(state) {
    if (state.name === "online") return ["Online", "online"];
    if (state.name === "refused") return ["Refused", "refused"];
    if (!navigator.onLine) return ["Offline", "offline"];
    return state.name === "waiting" ? ["Reconnecting", "waiting"] : ["Connecting", "waiting"];
  }

  #trouble(state) {
    if (state.name === "refused") return refusalInWords(state);
    if (state.name !== "waiting") return state.name === "connecting" ? this.#said : "";
    if (state.draining) return "The server is restarting. What you write is kept, and sent as soon as it is back.";
    const what = navigator.onLine ? "No connection to the server." : "You are offline.";
    return `${what} What you write is kept, and sent as soon as it is back.`;
  }

  /** The countdown changes every second, so it is kept out of what a screen reader says. */
  #tick() {
    const when = this.#rpc.state.name === "waiting" ? `Reconnecting in ${formatWait(this.#rpc.wait)}` : "";
    const node = this.#banner.querySelector(".when");
    const text = this.#rpc.state.name === "connecting" && this.#said ? "Connecting…" : when;
    if (node.textContent !== text) node.textContent = text;
  }

  #again() {
    // Credentials that were refused once will be refused again: continue without them.
    if (this.#rpc.state.code === 4401) this.#chat.signOut();
    else if (this.#rpc.state.name === "refused") this.#rpc.restart();
    else this.#rpc.retryNow();
  }
}
