/** Storage that never throws: the browser's where it is allowed and has room, else memory that lasts as long as the page. */

export class SafeStorage {
  #kept;
  #memory = new Map();

  /** @param {() => Storage} open may throw, as `localStorage` does where cookies are forbidden */
  constructor(open) {
    try {
      this.#kept = open();
    } catch {
      this.#kept = null;
    }
  }

  /** @returns {string | null} */
  getItem(key) {
    return this.#memory.get(key) ?? this.#kept?.getItem(key) ?? null;
  }

  setItem(key, value) {
    try {
      if (!this.#kept) throw new TypeError("no storage");
      this.#kept.setItem(key, value);
      this.#memory.delete(key);
    } catch {
      this.#memory.set(key, value);
    }
  }

  removeItem(key) {
    this.#memory.delete(key);
    this.#kept?.removeItem(key);
  }

  /** @returns {string[]} */
  keys() {
    const kept = this.#kept ? Array.from({ length: this.#kept.length }, (_, index) => this.#kept.key(index)) : [];
    return [...new Set([...kept, ...this.#memory.keys()])];
  }
}
