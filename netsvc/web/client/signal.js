/** A list of listeners, and the one way in which a model tells a view that something changed. */

export class Signal {
  #listeners = new Set();

  /**
   * @param {(...values: any[]) => void} listener called at every emit until the returned function is called
   * @returns {() => void}
   */
  add(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @param {...any} values handed to every listener, in the order they were added */
  emit(...values) {
    for (const listener of [...this.#listeners]) listener(...values);
  }
}
