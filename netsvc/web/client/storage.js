/** Storage that never throws: the browser's where it is allowed and has space, otherwise memory that lasts as long as the page. */

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

/** What one person keeps in a storage: each user has their own entries, the guests of this browser share theirs. */
export class PersonalStorage {
  /** @type {string | null} the name of a user, "" for a guest; null while unknown: then nothing is found and nothing is kept */
  whose = null;

  #storage;

  /** @param {SafeStorage} storage of all of them */
  constructor(storage) {
    this.#storage = storage;
  }

  /** @returns {string | null} */
  getItem(key) {
    return this.whose === null ? null : this.#storage.getItem(this.#own(key));
  }

  setItem(key, value) {
    if (this.whose !== null) this.#storage.setItem(this.#own(key), value);
  }

  removeItem(key) {
    if (this.whose !== null) this.#storage.removeItem(this.#own(key));
  }

  /** No name of a user has a colon. */
  #own(key) {
    return this.whose === "" ? key : `user:${this.whose}:${key}`;
  }
}
