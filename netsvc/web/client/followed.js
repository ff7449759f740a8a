/** The names of the rooms that somebody follows, kept for their next visit. */

const FOLLOWED = "netsvc.rooms";

/** @returns {string[]} in the order in which they were visited; empty if anything other than a list is stored */
export function readFollowed(storage) {
  try {
    const names = JSON.parse(storage.getItem(FOLLOWED));
    return Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
  } catch {
    return [];
  }
}

/** @param {string[]} names in the order in which they were visited */
export function writeFollowed(storage, names) {
  storage.setItem(FOLLOWED, JSON.stringify(names));
}
