"""A program that provides ``bench.add`` over a [lines] listener, as fast as Python can: it reads only the id of a call.

python -m benchmarks.peers.provider PORT: prints ``ready`` once it serves.
"""

import re
import socket
import sys

PROVIDE = b'{"jsonrpc":"2.0","id":0,"method":"rpc.provide","params":["bench.add"]}\n'
ID = re.compile(rb'"id":([0-9]+),"method":"bench\.add"')


def serve(port: int) -> None:
    """Answer until the server closes."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(PROVIDE)
        rest = b""
        while data := connection.recv(1 << 18):
            *lines, rest = (rest + data).split(b"\n")
            if lines and b'"providers":' in lines[0]:
                print("ready", flush=True)
            answers = [b'{"jsonrpc":"2.0","id":%b,"result":5}\n' % found[1] for line in lines if (found := ID.search(line))]
            if answers:
                connection.sendall(b"".join(answers))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
