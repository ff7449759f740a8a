/** Who may use a room and what I may do in it: in words, and as the icon before a room's name. */

import { element, icon } from "./dom.js";

/** What the access of a room means, in words. */
export const ACCESS = { public: "Everybody may read and write here.", members: "Members only; others see that the room exists.", secret: "Members only; nobody else knows the room exists." };

const ICONS = { public: "hash", members: "lock", secret: "hidden" };
const LABELS = { public: "", members: "members only", secret: "secret" };

/**
 * @param {import("./client/chat.js").Chat} chat
 * @param {string} name of a room
 * @returns {"public" | "members" | "secret"} as far as is known
 */
export function accessOf(chat, name) {
  const access = chat.rooms.get(name)?.info?.access ?? chat.directory.find((room) => room.name === name)?.access;
  return access in ICONS ? access : "public";
}

/** The icon before a room's name. */
export function signOf(access) {
  return element("span", { class: "sign", title: LABELS[access] || null }, icon(ICONS[access]));
}

/** The same for those who cannot see it, placed after the name; null if there is nothing to say. */
export function spoken(access) {
  return LABELS[access] ? element("span", { class: "sr" }, `, ${LABELS[access]}`) : null;
}
