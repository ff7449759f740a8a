/** A list of listeners, and the one way in which a model tells a view that something changed. */

/** Report an error that no code could catch: as an uncaught error in browsers, elsewhere on the console. */
export function report(error) {
  if (typeof globalThis.reportError === "function") globalThis.reportError(error);
  else console.error(error);
}

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

  /** @param {...any} values handed to every listener, in the order they were added; what one throws is reported and does not affect the others */
  emit(...values) {
    for (const listener of [...this.#listeners]) {
      try {
        listener(...values);
      } catch (error) {
        report(error);
      }
    }
  }
}
