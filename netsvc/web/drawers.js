/** On narrow screens the side panels slide over the page: one at a time, closed by Escape, the backdrop or a choice. */

export class Drawers {
  #main;
  #backdrop;
  #open = null;
  #opener = null;

  /**
   * @param {object} parts
   * @param {HTMLElement} parts.main everything that is out of reach while a drawer is open
   * @param {HTMLElement} parts.backdrop
   */
  constructor({ main, backdrop }) {
    this.#main = main;
    this.#backdrop = backdrop;
    backdrop.addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#open !== null && !document.querySelector("dialog[open]")) this.close();
    });
    // Wide enough for the panels to stand beside the log: nothing is a drawer any more.
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
    this.#main.inert = true;
    panel.querySelector("button, a").focus();
  }

  close() {
    if (this.#open === null) return;
    this.#open.classList.remove("open");
    this.#opener.setAttribute("aria-expanded", "false");
    this.#open = null;
    this.#backdrop.hidden = true;
    this.#main.inert = false;
    this.#opener.focus({ preventScroll: true });
  }
}
