/** Who reacted to what: for each person and emoji the newest event counts, in whatever order the events arrive. */

/** @typedef {{emoji: string, names: string[]}} Reaction names in the order in which they came */

/** How many targets are remembered, even if their messages are not loaded yet. */
const MOST_TARGETS = 20_000;

export class Reactions {
  /** target → {words: emoji → name → {seq, on}, asOf, revision} */
  #targets = new Map();
  #revision = 0;

  /**
   * Take an event of type `reaction`.
   *
   * @param {{seq: number, from: string, target: number, emoji: string, on: boolean}} event
   */
  take({ seq, from, target, emoji, on }) {
    if (typeof emoji !== "string" || emoji === "" || !Number.isInteger(target)) return;
    const known = this.#about(target);
    if (seq <= known.asOf) return;
    if (!known.words.has(emoji)) known.words.set(emoji, new Map());
    const words = known.words.get(emoji);
    if ((words.get(from)?.seq ?? 0) >= seq) return;
    words.delete(from); // ordered by the newest event
    words.set(from, { seq, on: on !== false });
    known.revision = this.#revision += 1;
  }

  /**
   * Take the reactions that a loaded message came with.
   *
   * @param {number} target
   * @param {Record<string, string[]>} given names by emoji
   * @param {number} asOf every reaction up to this seq is in it
   */
  load(target, given, asOf) {
    const known = this.#targets.get(target);
    if (known === undefined && Object.keys(given).length === 0) return;
    const { words, ...rest } = this.#about(target);
    const later = [...words].flatMap(([emoji, said]) => [...said].map(([from, word]) => ({ emoji, from, target, ...word }))).filter(({ seq }) => seq > asOf);
    const loaded = new Map(Object.entries(given).map(([emoji, names]) => [emoji, new Map(names.map((name) => [name, { seq: asOf, on: true }]))]));
    this.#targets.set(target, { ...rest, words: loaded, asOf, revision: (this.#revision += 1) });
    for (const event of later) this.take(event);
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

  /** The log was replaced: the reactions were to other messages. */
  clear() {
    this.#targets.clear();
  }

  #about(target) {
    if (!this.#targets.has(target)) {
      this.#targets.set(target, { words: new Map(), asOf: 0, revision: 0 });
      if (this.#targets.size > MOST_TARGETS) this.#targets.delete(this.#targets.keys().next().value);
    }
    return this.#targets.get(target);
  }
}
