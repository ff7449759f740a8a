/** Who reacted to what: the newest word of each person on each emoji counts, in whatever order the events come. */

/** @typedef {{emoji: string, names: string[]}} Reaction names in the order in which they came */

/** Targets that are remembered, though their messages may not be loaded yet. */
const MOST_TARGETS = 20_000;

export class Reactions {
  /** target → emoji → name → the seq of the last word and what it was */
  #targets = new Map();
  #revision = 0;

  /**
   * Take an event of type `reaction`.
   *
   * @param {{seq: number, from: string, target: number, emoji: string, on: boolean}} event
   */
  take({ seq, from, target, emoji, on }) {
    if (typeof emoji !== "string" || emoji === "" || !Number.isInteger(target)) return;
    const known = this.#targets.get(target) ?? { words: new Map(), revision: 0 };
    if (!known.words.has(emoji)) known.words.set(emoji, new Map());
    const words = known.words.get(emoji);
    if ((words.get(from)?.seq ?? 0) >= seq) return;
    words.delete(from); // the order is that of the last words
    words.set(from, { seq, on: on !== false });
    known.revision = this.#revision += 1;
    this.#targets.set(target, known);
    if (this.#targets.size > MOST_TARGETS) this.#targets.delete(this.#targets.keys().next().value);
  }

  /**
   * @param {number} target seq of a message
   * @returns {Reaction[]}
   */
  of(target) {
    const found = [];
    for (const [emoji, words] of this.#targets.get(target)?.words ?? []) {
      const names = [...words].filter(([, { on }]) => on).map(([name]) => name);
      if (names.length > 0) found.push({ emoji, names });
    }
    return found;
  }

  /** A number that changes whenever those of a message do. */
  revision(target) {
    return this.#targets.get(target)?.revision ?? 0;
  }

  /** The log was replaced: they were about other messages. */
  clear() {
    this.#targets.clear();
  }
}
