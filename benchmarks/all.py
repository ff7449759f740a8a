"""All benchmarks, one table."""

import sys

from benchmarks import calls, http, memory, posts, providers, room, rpc_http, start
from benchmarks.harness import main

if __name__ == "__main__":
    sys.exit(main("all", __doc__, [one.benchmark for one in (http, rpc_http, calls, providers, room, posts, memory, start)]))
