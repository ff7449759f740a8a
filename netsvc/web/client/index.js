/** netsvc from JavaScript, in browsers and in Node: calls, rooms, and their building blocks. */

export { Account } from "./account.js";
export { Chat } from "./chat.js";
export { connect, provide } from "./connect.js";
export { Outbox } from "./outbox.js";
export { parseCursor, RoomLog } from "./rooms.js";
export { ConnectionLost, DeadlinePassed, Refused, RpcClient, RpcError } from "./rpc.js";
export { Signal } from "./signal.js";
export { SafeStorage } from "./storage.js";
export { CODE, inWords, isPassing, retryAfter } from "./words.js";
