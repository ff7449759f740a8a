// An echo on `ws`: node node_echo.js PORT
const { WebSocketServer } = require("ws");
const server = new WebSocketServer({ port: Number(process.argv[2]), host: "127.0.0.1", perMessageDeflate: false, backlog: 1024 });
server.on("connection", (socket) => socket.on("message", (message, binary) => socket.send(message, { binary })));
