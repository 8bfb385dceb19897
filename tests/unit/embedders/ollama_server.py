"""A local HTTP server that answers `/api/embed` and `/api/chat` as an Ollama server does.

Its models are bags of words, so that vectors depend on the whole text; everything else (status
codes, bodies, error texts) is what Ollama sends.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np


@dataclass
class OllamaServer:
    """What the server knows, and what it was asked.

    Attributes:
        url: Where it listens.
        models: Dimension by model name.
        context_words: The longest text accepted, in words.
        requests: The bodies received so far.
        poison: A text that makes its whole batch fail, as one with a NaN result does.
        reply: When set, sent instead of an answer: status and body.
        says: What its chat model says next, one text after the other.
        done_reason: Why the chat model stops.
        hold: When cleared, answers wait until it is set.
    """

    url: str = ""
    models: dict[str, int] = field(
        default_factory=lambda: {"nomic-embed-text": 48, "all-minilm": 32, "mxbai-embed-large": 24}
    )
    context_words: int = 64
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    poison: str = "\0"
    reply: tuple[int, str] | None = None
    says: list[str] = field(default_factory=list[str])
    done_reason: str = "stop"
    hold: threading.Event = field(default_factory=threading.Event)

    def answer(self, body: dict[str, Any]) -> tuple[int, str]:
        """Answer one request as Ollama does: status and body."""
        self.requests.append(body)
        if self.reply is not None:
            return self.reply
        name = body["model"].removesuffix(":latest")
        if name not in self.models:
            return 404, json.dumps({"error": f'model "{name}" not found, try pulling it first'})
        texts: list[str] = body["input"]
        if any(len(text.split()) > self.context_words for text in texts):
            assert body["truncate"] is False
            return 400, json.dumps({"error": "the input length exceeds the context length"})
        if any(self.poison in text for text in texts):
            return 500, json.dumps({"error": "failed to encode response: unsupported value: NaN"})
        size = body.get("dimensions") or self.models[name]
        rows = [_bag_of_words(text, size) for text in texts]
        return 200, json.dumps(
            {
                "model": body["model"],
                "embeddings": rows,
                "total_duration": 14143917,
                "load_duration": 1019500,
                "prompt_eval_count": sum(len(text.split()) for text in texts),
            }
        )

    def chat(self, body: dict[str, Any]) -> tuple[int, str]:
        """Answer one chat request as Ollama does: status and body."""
        self.requests.append(body)
        if self.reply is not None:
            return self.reply
        if body["model"] != "llama3.2":
            return 404, json.dumps({"error": f"model '{body['model']}' not found"})
        assert body["stream"] is False
        return 200, json.dumps(
            {
                "model": body["model"],
                "created_at": "2025-03-12T10:00:00.000000Z",
                "message": {"role": "assistant", "content": self.says.pop(0)},
                "done": True,
                "done_reason": self.done_reason,
                "prompt_eval_count": 321,
                "eval_count": 45,
            }
        )


def _bag_of_words(text: str, dimension: int) -> list[float]:
    total = np.zeros(dimension)
    for word in text.split():
        seed = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big")
        total += np.random.default_rng(seed).standard_normal(dimension)
    return (total / np.linalg.norm(total)).tolist()


@contextmanager
def running_ollama() -> Iterator[OllamaServer]:
    """Run the server on a free local port until the block ends."""
    state = OllamaServer()
    state.hold.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answers = {"/api/embed": state.answer, "/api/chat": state.chat}
            answer = answers.get(self.path)
            status, reply = (404, "404 page") if answer is None else answer(body)
            state.hold.wait(timeout=30)
            data = reply.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Keep the test output quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Ignore clients that went away, which slow answers make them do on purpose."""

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()
