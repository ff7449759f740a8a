/** Who I am to the server: a guest with a name of my choice, a user with a session, or the bearer of a token. */

import { Refused, RpcError } from "./rpc.js";
import { CODE, inWords } from "./words.js";

const GUEST = "netsvc.guest";

/** @typedef {{name: string, roles: string[], guest: boolean}} Identity */

export class Account {
  /** @type {Identity | null} */
  identity = null;
  /** Why the requested guest name was not granted; "" if it was. */
  nameProblem = "";

  #storage;
  #fetch;
  #origin;
  #token;

  /**
   * @param {object} options
   * @param {import("./storage.js").SafeStorage} options.storage keeps the guest name
   * @param {typeof fetch} options.fetch
   * @param {string} [options.origin] where /login and /logout are; "" is where the page came from
   * @param {string} [options.token] of an account, for programs
   */
  constructor({ storage, fetch, origin = "", token = "" }) {
    this.#storage = storage;
    this.#fetch = fetch;
    this.#origin = origin;
    this.#token = token;
  }

  /** The scope in which the server remembers keys: all guests share "", since their names come and go; null before the first login. */
  get author() {
    return this.identity === null ? null : this.identity.guest ? "" : this.identity.name;
  }

  /** The guest name to ask for on the next connection. */
  set guestName(name) {
    this.#storage.setItem(GUEST, name);
  }

  /** Have no identity until the next connection. */
  forget() {
    this.identity = null;
    this.nameProblem = "";
  }

  /**
   * Log in on a new connection.
   *
   * @param {import("./rpc.js").RpcClient} rpc
   * @returns {Promise<void>} rejects with Refused if the server wants credentials, or better ones
   */
  async logIn(rpc) {
    if (this.#token !== "") {
      this.identity = { ...(await refusing(rpc.call("auth.login", { token: this.#token }))), guest: false };
      return;
    }
    let me = await refusing(rpc.call("auth.whoami"));
    const wanted = this.#storage.getItem(GUEST);
    this.nameProblem = "";
    if (me.guest && wanted !== null && wanted !== me.name) {
      try {
        me = { ...(await rpc.call("auth.login", { name: wanted })), guest: true };
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        this.nameProblem = inWords(error);
      }
    }
    if (me.guest) this.guestName = me.name;
    this.identity = me;
  }

  /**
   * Begin a session; it counts from the next connection on.
   *
   * @returns {Promise<string>} what went wrong, in words; "" if nothing did
   */
  signIn(name, password) {
    return this.#submit("/login", { name, password });
  }

  /** End the session; the same. */
  signOut() {
    return this.#submit("/logout", {});
  }

  async #submit(path, fields) {
    let response;
    try {
      response = await this.#fetch(this.#origin + path, { method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams(fields) });
    } catch {
      return "The server cannot be reached.";
    }
    if (response.ok) return "";
    if (response.status === 401) return "Wrong name or password.";
    if (response.status === 429) {
      const wait = response.headers.get("Retry-After");
      return `Too many attempts. Try again ${wait ? `in ${wait} s` : "later"}.`;
    }
    return `The server answered with an error (${response.status}).`;
  }
}

/** Turn "not authenticated" into Refused: trying again would be useless. */
async function refusing(answer) {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof RpcError && error.code === CODE.notAuthenticated) throw new Refused("Sign in to take part.");
    throw error;
  }
}
