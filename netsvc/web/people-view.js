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
   */
  constructor({ list, counts }) {
    this.#list = list;
    this.#counts = counts;
  }

  /**
   * @param {{count: number, names: string[]}} present
   * @param {string} me
   */
  render({ count, names }, me) {
    const stamp = JSON.stringify([count, names, me]);
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    for (const node of this.#counts) node.textContent = String(count);
    const mine = names.filter((name) => name === me);
    const others = names.filter((name) => name !== me);
    const rows = [...mine, ...others].map((name) => {
      const you = name === me ? element("span", { class: "you" }, "you") : null;
      return element("li", {}, avatar(name), element("bdi", { class: "person" }, name), you);
    });
    if (count > names.length && names.length > 0) rows.push(element("li", { class: "rest" }, `and ${count - names.length} more`));
    this.#list.replaceChildren(...rows);
  }
}
