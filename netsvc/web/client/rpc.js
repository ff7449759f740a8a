/**
 * JSON-RPC 2.0 over a WebSocket that reconnects by itself.
 *
 * No DOM: sockets, timers and randomness are passed in, so that the same file runs in Node. All durations are seconds.
 */

import { report, Signal } from "./signal.js";

/** The other side answered with an error object. */
export class RpcError extends Error {
  /** @param {{code: number, message: string, data?: any}} error as received */
  constructor(error) {
    super(error.message);
    this.name = "RpcError";
    this.code = error.code;
    this.data = error.data ?? {};
  }
}

/** The connection ended before the answer, or there was none; whether the call took effect is unknown. */
export class ConnectionLost extends Error {
  constructor(message = "the connection was lost") {
    super(message);
    this.name = "ConnectionLost";
  }
}

/** No answer came in time; whether the call took effect is unknown. */
export class DeadlinePassed extends Error {
  constructor(method, seconds) {
    super(`${method} was not answered within ${seconds} s`);
    this.name = "DeadlinePassed";
  }
}

/** Thrown by `greet`: this server refuses us with these credentials, so trying again by itself would be useless. */
export class Refused extends Error {
  /**
   * @param {string} reason in plain words
   * @param {number} code a WebSocket close code of the 44xx class
   */
  constructor(reason, code = 4401) {
    super(reason);
    this.name = "Refused";
    this.code = code;
  }
}

/**
 * What an action knows of its call, besides the params.
 *
 * @typedef {object} AskedCall
 * @property {AbortSignal} signal aborts when the result is no longer wanted
 * @property {number} [deadline] seconds
 * @property {(members: {data?: any, done?: number, total?: number}) => void} progress sends a part of the result, `data`, or tells how far the call has got
 * @property {() => Promise<void>} caughtUp await it between the parts of a long result: resolves when the caller has received what was sent (at
 *   once with a server that does not support it), rejects with the reason of the signal if the result is no longer wanted
 */

/** Milliseconds; a timer that is to last longer ends at once (HTML, section 8.6: a signed 32-bit integer). */
const LONGEST_TIMER = 2 ** 31 - 1;

const SYSTEM_TIMERS = {
  now: () => Date.now() / 1000,
  after: (seconds, action) => setTimeout(action, Math.min(seconds * 1000, LONGEST_TIMER)),
  cancel: (timer) => clearTimeout(timer),
};

const METHOD_NOT_FOUND = -32601;
const NOT_FOUND = -32003;
const INTERNAL_ERROR = -32603;
const ABNORMAL = 1006;
/** A `return_after` is obeyed for at most this long, whatever the server says. */
const LONGEST_RETURN = 300;

/** Close codes of the 44xx class mean: do not come back with the same credentials. Any other code leaves that open. */
export function refuses(code) {
  return code >= 4400 && code <= 4499;
}

/** The JSON of a result; throws a TypeError if it has none. */
function textOf(value) {
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError("the result of an action has to be JSON");
  return text;
}

/** The JSON of the error that a caller gets: an RpcError as it is; of any other error nothing is revealed. */
function errorText(error) {
  const { code, message, data } = error instanceof RpcError ? error : { code: INTERNAL_ERROR, message: "Internal error" };
  try {
    return JSON.stringify({ code, message, data });
  } catch (failure) {
    report(failure);
    return errorText(failure);
  }
}

/**
 * How long to wait before the next attempt: doubling from `first` up to `longest`, half of it random, so that the
 * clients of a restarted server do not all come at once.
 *
 * @param {number} failures attempts that failed in a row, from 0
 * @param {{first: number, longest: number}} limits seconds
 * @param {() => number} random in [0, 1)
 */
export function backoff(failures, { first, longest }, random) {
  return Math.min(longest, first * 2 ** Math.min(failures, 30)) * (0.5 + random() / 2);
}

/**
 * @typedef {{name: "closed"} | {name: "connecting"} | {name: "online"} | {name: "waiting", until: number, draining: boolean}
 *   | {name: "refused", code: number, reason: string}} State `until` is in the seconds of
 *   `timers.now()`; draining: the server itself has said when to come back
 */

export class RpcClient {
  /** @type {State} */
  state = { name: "closed" };
  /** Emits the new state. */
  changed = new Signal();

  #options;
  #timers;
  #socket = null;
  #calls = new Map();
  #lastId = 0;
  #subscribers = new Map();
  #answers = new Map();
  /** By id, what tells an action that its answer is no longer wanted. */
  #asking = new Map();
  #failures = 0;
  #returnAfter = null;
  #heard = 0;
  #probing = false;
  #openTimer = null;
  #retryTimer = null;
  #steadyTimer = null;
  #silenceTimer = null;

  /**
   * @param {object} options
   * @param {string} options.url ws: or wss:
   * @param {(client: RpcClient) => Promise<void>} [options.greet] runs on every new connection before it counts as online: log in,
   *   join. What it throws ends the connection; Refused ends the attempts too.
   * @param {typeof WebSocket} [options.WebSocket] that of the package ws where there is no global one, as in Node before 22
   * @param {typeof SYSTEM_TIMERS} [options.timers]
   * @param {() => number} [options.random]
   * @param {number} [options.openDeadline] for the handshake
   * @param {number} [options.callDeadline] for each call, unless it brings its own
   * @param {number} [options.silence] after this much silence `heartbeat` is called, to find out whether the connection is alive
   * @param {string} [options.heartbeat] a cheap method
   * @param {number} [options.probeDeadline] for its answer
   * @param {number} [options.first] the shortest wait before a new attempt
   * @param {number} [options.longest] the longest
   * @param {number} [options.steady] a connection that lived this long clears the count of failures
   */
  constructor(options) {
    this.#options = {
      greet: async () => {},
      WebSocket: globalThis.WebSocket,
      random: Math.random,
      openDeadline: 10,
      callDeadline: 20,
      silence: 30,
      heartbeat: "auth.whoami",
      probeDeadline: 10,
      first: 0.5,
      longest: 30,
      steady: 10,
      ...options,
    };
    this.#timers = options.timers ?? SYSTEM_TIMERS;
  }

  /** Connect, and stay connected from now on. */
  open() {
    if (this.state.name === "closed" || this.state.name === "refused") this.#connect();
  }

  /** Disconnect for good. */
  close() {
    this.#leave(1000, "closed here");
    this.#become({ name: "closed" });
  }

  /** Drop the current connection, if any, and make a new one at once: for another identity, or after a refusal. */
  restart() {
    this.#leave(1000, "reconnecting");
    this.#failures = 0;
    this.#connect();
  }

  /** Stop waiting and try now: the user asked, or the network came back. */
  retryNow() {
    if (this.state.name === "waiting") this.#connect();
  }

  /** Find out whether the connection is still alive, for example after a sleep or a change of network. A dead one is dropped. */
  probe() {
    if (this.state.name !== "online" || this.#probing) return;
    const socket = this.#socket;
    const sent = this.#timers.now();
    this.#probing = true;
    this.call(this.#options.heartbeat, {}, { deadline: this.#options.probeDeadline })
      .catch((error) => {
        // Any answer, even an error, proves that it is alive, and so does anything else received.
        if (error instanceof DeadlinePassed && socket === this.#socket && this.#heard <= sent) this.#ended(socket, ABNORMAL, "no answer");
      })
      .finally(() => (this.#probing = false));
  }

  /** The seconds until the next attempt, 0 if none is planned. */
  get wait() {
    return this.state.name === "waiting" ? Math.max(0, this.state.until - this.#timers.now()) : 0;
  }

  /**
   * @param {string} method of a notification
   * @param {(params: any) => void} listener
   * @returns {() => void} ends it
   */
  on(method, listener) {
    if (!this.#subscribers.has(method)) this.#subscribers.set(method, new Signal());
    return this.#subscribers.get(method).add(listener);
  }

  /**
   * Answer calls that the server makes.
   *
   * @param {string} method
   * @param {(params: any, call: AskedCall) => any} action its result, or a promise of it, is the answer; an RpcError that it throws is sent as it
   *   is; any other error is sent without its message, and reported here
   * @returns {() => void} ends it
   */
  answer(method, action) {
    this.#answers.set(method, action);
    return () => this.#answers.get(method) === action && this.#answers.delete(method);
  }

  /**
   * @param {string} method
   * @param {object} [params]
   * @param {object} [options]
   * @param {number} [options.deadline] seconds; it also travels with the call, so that the server can give up too; Infinity leaves it to the server
   * @param {string} [options.key] with the same key (a UUID) the call may be made again, and takes effect only once
   * @param {(members: {data?: any, done?: number, total?: number}) => void} [options.progress] is given parts of the result, and told how far the call has got
   * @param {AbortSignal} [options.signal] when it aborts, the answer is no longer wanted, and the server is told
   * @returns {Promise<any>} the result; rejects with RpcError, ConnectionLost, DeadlinePassed, or the reason of the signal
   */
  call(method, params = {}, { deadline = this.#options.callDeadline, key, progress, signal } = {}) {
    const socket = this.#socket;
    if (socket === null || socket.readyState !== 1) return Promise.reject(new ConnectionLost("not connected"));
    if (signal?.aborted) return Promise.reject(signal.reason);
    const id = ++this.#lastId;
    const sent = this.#timers.now();
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#settle(id)?.reject(signal.reason);
        if (socket.readyState === 1) socket.send(JSON.stringify({ jsonrpc: "2.0", method: "rpc.cancel", params: { id } }));
      };
      const timer = this.#timers.after(deadline, () => {
        this.#settle(id)?.reject(new DeadlinePassed(method, deadline));
        // Nothing received since we asked: either the call is slow, or the connection is half-open, as after a change of network.
        if (socket === this.#socket && this.#heard <= sent) this.probe();
      });
      const forget = () => signal?.removeEventListener("abort", abort);
      signal?.addEventListener("abort", abort);
      this.#calls.set(id, { resolve, reject, timer, progress, forget });
      const limit = Number.isFinite(deadline) ? deadline : undefined;
      socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params, deadline: limit, key }));
    });
  }

  /** Remove a call from those waiting for an answer; undefined if it is no longer waiting. */
  #settle(id) {
    const call = this.#calls.get(id);
    if (call === undefined) return undefined;
    this.#calls.delete(id);
    this.#timers.cancel(call.timer);
    call.forget();
    return call;
  }

  #connect() {
    const { WebSocket, url } = this.#options;
    if (typeof WebSocket !== "function") {
      throw new TypeError("there is no WebSocket here, as in Node before 22: npm install ws, and give its WebSocket as the option WebSocket");
    }
    this.#cancelTimers();
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.onopen = () => this.#opened(socket);
    socket.onmessage = (message) => this.#received(message.data);
    socket.onclose = (event) => this.#ended(socket, event.code, event.reason);
    socket.onerror = () => {}; // a close always follows, and says more
    this.#openTimer = this.#timers.after(this.#options.openDeadline, () => this.#ended(socket, ABNORMAL, "no handshake"));
    this.#become({ name: "connecting" });
  }

  async #opened(socket) {
    this.#timers.cancel(this.#openTimer);
    this.#heard = this.#timers.now();
    try {
      await this.#options.greet(this);
    } catch (error) {
      if (socket !== this.#socket) return;
      if (error instanceof Refused) this.#ended(socket, error.code, error.message);
      else this.#ended(socket, ABNORMAL, error.message);
      return;
    }
    if (socket !== this.#socket) return;
    this.#steadyTimer = this.#timers.after(this.#options.steady, () => {
      this.#failures = 0;
    });
    this.#listenForSilence();
    this.#become({ name: "online" });
  }

  #listenForSilence() {
    const left = this.#options.silence - (this.#timers.now() - this.#heard);
    if (left <= 0) this.probe();
    this.#silenceTimer = this.#timers.after(left > 0 ? left : this.#options.silence, () => this.#listenForSilence());
  }

  #received(data) {
    this.#heard = this.#timers.now();
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    for (const item of Array.isArray(message) ? message : [message]) this.#take(item);
  }

  #take(message) {
    if (message === null || typeof message !== "object") return;
    if (typeof message.method === "string") {
      this.#asked(message);
      return;
    }
    const call = this.#settle(message.id);
    if (!call) return;
    if (message.error) call.reject(new RpcError(message.error));
    else call.resolve(message.result);
  }

  #asked(message) {
    const { method, params, id } = message;
    if (id !== undefined) {
      this.#reply(this.#socket, message);
      return;
    }
    if (method === "rpc.progress" && this.#calls.has(params?.id)) {
      const { id: called, ...members } = params;
      try {
        this.#calls.get(called).progress?.(members);
      } catch (error) {
        report(error);
      }
    }
    if (method === "rpc.cancel") this.#asking.get(params?.id)?.abort();
    if (method === "server.draining" && Number.isFinite(params?.return_after)) {
      this.#returnAfter = Math.min(Math.max(0, params.return_after), LONGEST_RETURN);
    }
    this.#subscribers.get(method)?.emit(params);
  }

  async #reply(socket, { method, params, id, deadline }) {
    const stop = new AbortController();
    this.#asking.set(id, stop);
    const send = (text) => socket === this.#socket && socket.readyState === 1 && socket.send(text);
    const progress = ({ data, done, total }) =>
      void (stop.signal.aborted || send(JSON.stringify({ jsonrpc: "2.0", method: "rpc.progress", params: { id, data, done, total } })));
    const until = deadline && this.#timers.now() + deadline;
    const caughtUp = () => this.#caughtUp(id, stop, until && { deadline: Math.max(0.001, until - this.#timers.now()) });
    let outcome;
    try {
      const action = this.#answers.get(method);
      if (!action) throw new RpcError({ code: METHOD_NOT_FOUND, message: "Method not found" });
      outcome = `"result":${textOf((await action(params, { signal: stop.signal, deadline, progress, caughtUp })) ?? null)}`;
    } catch (error) {
      if (!(error instanceof RpcError || stop.signal.aborted)) report(error);
      outcome = `"error":${errorText(error)}`;
    }
    if (this.#asking.get(id) === stop) this.#asking.delete(id);
    send(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},${outcome}}`);
  }

  /** Wait until the caller has received what was sent to it. */
  async #caughtUp(id, stop, options) {
    // A call that came on a lost connection is over, even if there is a new connection.
    stop.signal.throwIfAborted();
    try {
      await this.call("rpc.progress", { id }, { ...options, signal: stop.signal });
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      if (error.code === NOT_FOUND) stop.abort();
      stop.signal.throwIfAborted();
      if (error.code !== METHOD_NOT_FOUND) throw error;
    }
  }

  #ended(socket, code, reason) {
    if (socket !== this.#socket) return;
    this.#leave(1000, "");
    if (refuses(code)) {
      this.#become({ name: "refused", code, reason });
      return;
    }
    const { first, longest, random } = this.#options;
    const draining = this.#returnAfter !== null;
    const seconds = this.#returnAfter ?? backoff(this.#failures, { first, longest }, random);
    this.#returnAfter = null;
    this.#failures += 1;
    this.#retryTimer = this.#timers.after(seconds, () => this.#connect());
    this.#become({ name: "waiting", until: this.#timers.now() + seconds, draining });
  }

  /** Drop the socket without waiting for its closing handshake, which a dead network never finishes. */
  #leave(code, reason) {
    this.#cancelTimers();
    const socket = this.#socket;
    this.#socket = null;
    if (socket !== null) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(code, reason);
    }
    for (const stop of this.#asking.values()) stop.abort();
    this.#asking.clear();
    for (const id of [...this.#calls.keys()]) this.#settle(id)?.reject(new ConnectionLost());
  }

  #cancelTimers() {
    for (const timer of [this.#openTimer, this.#retryTimer, this.#steadyTimer, this.#silenceTimer]) this.#timers.cancel(timer);
  }

  #become(state) {
    this.state = state;
    this.changed.emit(state);
  }
}
