/** Who is in the room. */

import { avatar, element } from "./dom.js";

export class PeopleView {
  #list;
  #counts;
  #stamp = "";

  /**
   * @param {object} parts
   * @param {HTMLElement} parts.list
   * @param {HTMLElement[]} parts.counts elements that show how many there are
   * @param {(name: string) => void} parts.onChoose
   */
  constructor({ list, counts, onChoose }) {
    this.#list = list;
    this.#counts = counts;
    list.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) onChoose(button.dataset.name);
    });
  }

  /**
   * @param {import("./client/rooms.js").RoomLog} log
   * @param {string} me
   */
  render({ present: { count, names }, info }, me) {
    const owners = info?.owners ?? [];
    const stamp = JSON.stringify([count, names, me, owners]);
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    for (const node of this.#counts) node.textContent = String(count);
    const focused = this.#list.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    const mine = names.filter((name) => name === me);
    const others = names.filter((name) => name !== me);
    const rows = [...mine, ...others].map((name) => {
      const marks = [name === me && "you", owners.includes(name) && "owner"].filter(Boolean);
      const words = marks.map((mark) => element("span", { class: `mark ${mark}` }, mark));
      return element("li", {}, element("button", { type: "button", "data-name": name, "aria-haspopup": "dialog" }, avatar(name), element("bdi", { class: "person", title: name }, name), ...words));
    });
    if (count > names.length && names.length > 0) rows.push(element("li", { class: "rest" }, `and ${count - names.length} more`));
    this.#list.replaceChildren(...rows);
    if (focused !== null) [...this.#list.querySelectorAll("button")].find(({ dataset }) => dataset.name === focused)?.focus();
  }
}
