"""An open loop: so many requests a second over so many connections, each timed from when it was due.

``python open_loop.py PORT RATE CONNECTIONS SECONDS SEED KEY`` prints ``{"p50_ms", "p99_ms", "requests", "failed"}``.
"""

from __future__ import annotations

import json
import random
import re
import select
import socket
import sys
import time

HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: Bearer %s\r\n"
)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Line:
    """One connection. ``due``: when its request was due."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self.data = b""

    def send(self, due: float, number: int, key: bytes) -> None:
        text = f"{random.getrandbits(60):x} request {number} says hello to you"
        plain = {"model": "mock", "max_tokens": 50, "messages": [{"role": "user", "content": text}]}
        body = json.dumps(plain).encode()
        self.due = due
        self.socket.sendall(HEAD % key + b"content-length: %d\r\n\r\n" % len(body) + body)

    def read(self) -> int:
        """The status once the answer is whole, else 0."""
        self.data += self.socket.recv(65536)
        end = self.data.find(b"\r\n\r\n")
        match = LENGTH.search(self.data, 0, end) if end >= 0 else None
        if match is None or len(self.data) < end + 4 + int(match[1]):
            return 0
        status = int(self.data[9:12])
        self.data = b""
        return status


def run(port: int, rate: float, connections: int, seconds: float, seed: int, key: bytes) -> dict[str, float]:
    random.seed(seed)
    lines = [Line(port) for _ in range(connections)]
    by_fd = {line.socket.fileno(): line for line in lines}
    fds = list(by_fd)
    free = list(lines)
    waiting: list[float] = []
    took: list[float] = []
    failed = sent = 0
    due = start = time.perf_counter() + 0.01
    while due - start < seconds or len(free) < connections:
        now = time.perf_counter()
        while due <= now and due - start < seconds:
            waiting.append(due)
            due += random.expovariate(rate)
        while waiting and free:
            sent += 1
            free.pop().send(waiting.pop(0), sent, key)
        pause = max(0.0, due - time.perf_counter()) if due - start < seconds else 0.1
        for fd in select.select(fds, [], [], pause)[0]:
            line = by_fd[fd]
            status = line.read()
            if status:
                took.append(time.perf_counter() - line.due)
                failed += status != 200
                free.append(line)
    took.sort()
    return {
        "p50_ms": 1e3 * took[len(took) // 2],
        "p99_ms": 1e3 * took[int(len(took) * 0.99)],
        "requests": len(took),
        "failed": failed,
    }


if __name__ == "__main__":
    port, rate, connections, seconds, seed = (float(each) for each in sys.argv[1:6])
    print(json.dumps(run(int(port), rate, int(connections), seconds, int(seed), sys.argv[6].encode())))
