"""Runs one route of mq-bridge until it is terminated: `python -m benchmarks.bridge '<route as JSON>'` says "ready"."""

import json
import signal
import sys
import threading

from mq_bridge import Route


def main() -> None:
    """Run the route."""
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    with Route.from_config(json.loads(sys.argv[1])):
        print("ready", flush=True)
        done.wait()


if __name__ == "__main__":
    main()
