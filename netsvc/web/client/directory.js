/** The list of a server's rooms. */

const PAGE = 200;
const MOST_PAGES = 10;

/**
 * Read it page after page.
 *
 * @param {(params: object) => Promise<{rooms: {name: string}[], more?: boolean}>} ask calls `chat.rooms`
 * @returns {Promise<{rooms: {name: string, count?: number, at?: string, access?: string}[], cut: boolean}>} cut: there are more than we asked for
 */
export async function readDirectory(ask) {
  const rooms = [];
  let more = true;
  for (let page = 0; more && page < MOST_PAGES; page += 1) {
    const place = rooms.length > 0 ? { after: rooms.at(-1).name } : {};
    const answer = await ask({ ...place, limit: PAGE });
    rooms.push(...answer.rooms);
    more = answer.more === true && answer.rooms.length > 0;
  }
  return { rooms, cut: more };
}
