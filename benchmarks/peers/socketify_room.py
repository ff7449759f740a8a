"""One room on uWebSockets through socketify: what one client says goes to all. python -m benchmarks.peers.socketify_room PORT."""

# mypy: disable-error-code="import-untyped"

import sys
from typing import Any

from socketify import App, AppListenOptions, CompressOptions

if __name__ == "__main__":
    app = App()
    app.ws(
        "/*",
        {
            "compression": CompressOptions.DISABLED,
            "max_payload_length": 1 << 20,
            "idle_timeout": 120,
            "open": lambda socket: socket.subscribe("room"),
            "message": lambda socket, message, opcode: app.publish("room", message, opcode),
        },
    )

    def health(response: Any, request: Any) -> None:
        """Answer plain HTTP: it says that the server is up."""
        response.end("ok")

    app.get("/", health)
    app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"))
    app.run()
