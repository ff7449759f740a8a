/** On narrow screens the side panels slide over the page: one at a time, closed by Escape, the backdrop or a choice. */

export class Drawers {
  #regions;
  #backdrop;
  #open = null;
  #opener = null;

  /**
   * @param {object} parts
   * @param {HTMLElement[]} parts.regions all parts of the page; while one is open as a drawer, the others are inert
   * @param {HTMLElement} parts.backdrop
   */
  constructor({ regions, backdrop }) {
    this.#regions = regions;
    this.#backdrop = backdrop;
    backdrop.addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#open !== null && !document.querySelector("dialog[open]")) this.close();
    });
    // Wide enough for the panels beside the log: nothing is a drawer any more.
    for (const query of ["(min-width: 48rem)", "(min-width: 70rem)"]) matchMedia(query).addEventListener("change", () => this.close());
  }

  /**
   * @param {HTMLElement} panel
   * @param {HTMLElement} opener gets the focus back
   */
  toggle(panel, opener) {
    if (this.#open === panel) {
      this.close();
      return;
    }
    this.close();
    this.#open = panel;
    this.#opener = opener;
    panel.classList.add("open");
    opener.setAttribute("aria-expanded", "true");
    this.#backdrop.hidden = false;
    for (const region of this.#regions) region.inert = region !== panel;
    panel.querySelector("button, a").focus();
  }

  close() {
    if (this.#open === null) return;
    this.#open.classList.remove("open");
    this.#opener.setAttribute("aria-expanded", "false");
    this.#open = null;
    this.#backdrop.hidden = true;
    for (const region of this.#regions) region.inert = false;
    this.#opener.focus({ preventScroll: true });
  }
}
