"""A server that answers as models do, or badly, by a script of a test; and a client of it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ai_scientist.model.client import ModelClient, Retries
from ai_scientist.model.prices import Price
from ai_scientist.records import Limits, Message
from ai_scientist.testing import MemoryJournal

KEY = "sk-test-0123456789"
HELLO = (Message(role="system", content="Be brief."), Message(role="user", content="hello"))
NO_CAP = Limits(max_cost_usd=None)
TEN = {"gpt-test": Price(input=10.0, output=10.0, cached=1.0)}
Reaction = tuple[int, dict[str, str], Any]


class ScriptedServer:
    """Answers each POST with the next (status, headers, body) of a script; the last one repeats.

    The body is a dict, raw bytes, "hang" or "drop". `requests` keeps (path, headers, body).
    """

    def __init__(self, *script: tuple[int, dict[str, str], Any]) -> None:
        self.script = list(script)
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.stopping = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

            def do_POST(self) -> None:
                data = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((self.path, dict(self.headers.items()), data))
                place = min(len(outer.requests), len(outer.script)) - 1
                status, headers, body = outer.script[place]
                if body == "hang":
                    outer.stopping.wait()
                if body in ("hang", "drop"):
                    self.close_connection = True
                    self.connection.close()
                    return
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(raw)))
                for name, value in headers.items():
                    if name != "Content-Type":
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def __enter__(self) -> ScriptedServer:
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def chat(text: str = "fine", *, finish: str = "stop", **usage: Any) -> Reaction:
    """Return a good answer in OpenAI's shape."""
    counted = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, **usage}
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": text},
    }
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    return 200, {}, {**body, "choices": [choice], "usage": counted}


def claude(text: str = "fine", *, stop: str = "end_turn", **usage: Any) -> Reaction:
    """Return a good answer in Anthropic's shape."""
    body = {"id": "m", "type": "message", "role": "assistant", "model": "claude-test"}
    content = [{"type": "thinking", "thinking": "…", "signature": "s"}]
    content.append({"type": "text", "text": text})
    counted = {"input_tokens": 10, "output_tokens": 20, **usage}
    more = {"content": content, "stop_reason": stop, "stop_sequence": None, "usage": counted}
    return 200, {}, {**body, **more}


def refusal(status: int, message: str = "no", **headers: str) -> Reaction:
    """Return an error both SDKs understand."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    error = {"type": "error", "message": message, "param": None, "code": None}
    return status, names, {"type": "error", "error": error}


def connect(
    folder: Path, server: Any = None, name: str = "gpt-test", **options: Any
) -> ModelClient:
    """Return a client of `server` with no waiting between tries."""
    options.setdefault("journal", MemoryJournal())
    options.setdefault("limits", NO_CAP)
    options.setdefault("prices", TEN)
    options.setdefault("sleep", lambda seconds: None)
    options.setdefault("retries", Retries(tries=3))
    options.setdefault("keys", {"openai": KEY, "anthropic": KEY})
    if server is not None:
        options.setdefault("base_url", server if isinstance(server, str) else server.url)
    return ModelClient(name, calls=folder / "calls.jsonl", **options)


def ask(client: ModelClient, step: str = "run_1/edit_1") -> Any:
    """Ask the usual question."""
    return client.ask(purpose="edit", step=step, messages=HELLO)
