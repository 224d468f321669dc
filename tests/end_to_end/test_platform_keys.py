"""Keys, limits and usage on the whole platform: from the command line to the gateway, and back into the books."""

from __future__ import annotations

import os
import signal
from typing import Any

import httpx

from whole_platform import Platform, eventually

SERVER = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, plain):
        body = json.dumps(plain).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self): self.answer({"status": "ok"})
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer({"usage": {"prompt_tokens": 10, "completion_tokens": 5}})
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

SERVICE = """name: echo
type: service
served_name: echo
concurrency: 4
price: {{input: 100000, output: 200000}}
run: exec python3 {script}
"""


def test_a_key_closes_the_endpoint_is_limited_spends_its_budget_and_is_revoked(platform: Platform) -> None:
    platform.up("n1:cpus=4,memory=2GB")
    script = platform.file("server.py", SERVER)
    platform.file("s.yaml", SERVICE.format(script=script))
    assert platform.ampacity("apply", "s.yaml").code == 0
    url = ""

    def ask(key: str = "") -> int:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        try:
            body = {"model": "echo", "prompt": "x"}
            return httpx.post(f"{url}/v1/completions", json=body, headers=headers, timeout=30).status_code
        except httpx.HTTPError:
            return 0

    def used(by: str) -> dict[str, Any]:
        report = platform.json("usage", "--by", by)
        return {report["names"].get(each["key"], each["key"]): each for each in report["sums"]}

    url = platform.client.status().gateway_url
    assert "no key was made" in platform.ampacity("status").out
    eventually(lambda: ask() == 200, "an answer of the open endpoint")
    made = platform.ampacity("keys", "create", "alice", "--budget", "8")
    secret = made.out.strip()
    assert (made.code, secret[:4]) == (0, "amp-")
    assert "lets nobody in without a key" in made.err
    eventually(lambda: ask() == 401, "the closed endpoint")
    assert "1 key opens it" in platform.ampacity("status").out
    assert ask("amp-wrong") == 401

    os.kill(platform.client.status().pid, signal.SIGKILL)  # what is used while nobody keeps the books is not lost
    assert [ask(secret) for _ in range(2)] == [200, 200]
    platform.up()
    eventually(lambda: used("key").get("alice", {}).get("requests") == 2, "two requests in the books")
    alice = used("key")["alice"]
    assert (alice["input_tokens"], alice["output_tokens"], alice["money"]) == (20, 10, 4.0)
    assert used("key")[""]["requests"] >= 1

    assert [ask(secret) for _ in range(3)] == [200, 200, 429], "2 apiece: its budget of 8 is spent"
    platform.kill(AMPACITY_WORKLOAD_NAME="gateway")  # one that begins anew learns from the books what was spent
    eventually(lambda: ask() == 401, "the gateway again")
    eventually(lambda: ask(secret) == 429, "the spent budget")
    assert platform.ampacity("keys", "limit", "alice", "--budget", "none", "--requests-per-minute", "2").code == 0
    eventually(lambda: ask(secret) == 200, "other limits")
    eventually(lambda: ask(secret) == 429, "the limit of requests")
    assert platform.ampacity("keys", "revoke", "alice").code == 0
    eventually(lambda: ask(secret) == 401, "the revoked key")
    eventually(lambda: used("key")["alice"]["requests"] >= 3, "what was used since")
    found = [path for path in platform.state_dir.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert found == [], "the key itself lies nowhere"
