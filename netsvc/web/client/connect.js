/** The quick start for programs: one function to connect, one to provide a procedure. */

import { Refused, RpcClient, RpcError } from "./rpc.js";

/** Codes that a login gets each time: bad credentials, a guest's name that cannot be had, a role that is too low. */
const FINAL = new Set([-32001, -32002, -32004, -32602]);

/**
 * Connect, and stay connected from then on, as the same identity on every new connection.
 *
 * @param {object} options those of RpcClient, and:
 * @param {string} options.url ws://host:port/ws
 * @param {string} [options.token] of an account
 * @param {string} [options.name] of a user, with `password`; without it, the name of a guest
 * @param {string} [options.password]
 * @returns {Promise<RpcClient>} once it is online; rejects with Refused if the server does not accept these credentials
 */
export function connect({ token, name, password, ...options }) {
  const credentials = token !== undefined ? { token } : name === undefined ? null : password === undefined ? { name } : { name, password };
  const greet = async (client) => {
    try {
      await client.call(credentials ? "auth.login" : "auth.whoami", credentials ?? {});
    } catch (error) {
      if (error instanceof RpcError && FINAL.has(error.code)) throw new Refused(error.data.detail ?? error.message);
      throw error;
    }
    await options.greet?.(client);
  };
  const client = new RpcClient({ ...options, greet });
  return new Promise((resolve, reject) => {
    const end = client.changed.add((state) => {
      if (state.name === "online") resolve(client);
      else if (state.name === "refused" || state.name === "closed") reject(new Refused(state.reason ?? "closed", state.code));
      else return;
      end();
    });
    client.open();
  });
}

/**
 * Serve a procedure on a client's connection, and on each that follows it.
 *
 * @param {RpcClient} client that is online
 * @param {string} name like weather.today
 * @param {(params: any, call: import("./rpc.js").AskedCall) => any} action see RpcClient.answer
 * @param {object} [schema] as of `rpc.provide`: summary, params, result, idempotent
 * @returns {Promise<() => Promise<void>>} ends it; rejects if it may not be provided
 */
export async function provide(client, name, action, schema) {
  const announce = () => client.call("rpc.provide", schema === undefined ? { name } : { name, schema });
  const forget = client.answer(name, action);
  try {
    await announce();
  } catch (error) {
    forget();
    throw error;
  }
  // On a new connection it can be refused only for a reason that applies to everything else, too.
  const end = client.changed.add((state) => state.name === "online" && announce().catch(() => {}));
  return async () => {
    end();
    await client.call("rpc.withdraw", { name });
    forget();
  };
}
