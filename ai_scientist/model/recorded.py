"""A model server that replays stored replies over the real OpenAI chat protocol, on loopback.

A recording is JSON lines shaped like calls.jsonl, so the calls of any run are a recording:

    {"purpose": "edit", "step": "run_1/edit_1", "reply": "…"}
    {"purpose": "edit", "step": "run_1/edit_1", "call": 2, "expect": ["failed to match"], …}

`purpose`, `step` and `call` (default: its place among the lines of this purpose and step) say where
a reply belongs. `expect` lists patterns the prompt must hold. `status`, `headers`, `finish_reason`,
`delay_s` and `drop` script faults; further lines of the same purpose, step and call answer the
second, third … HTTP try. Lines of calls.jsonl whose `outcome` is not "ok" are passed over: they
were the network's, not the model's. Other keys of calls.jsonl are read by nobody here.

The request's headers say what is asked for, so the server keeps no state between requests, and a
run that was killed goes on against a new server. A request without a line is refused: nothing is
made up. Only the purpose `preflight` is answered without one, since it asks for no content.
"""

from __future__ import annotations

import difflib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ai_scientist.errors import InputError
from ai_scientist.records import Json

PURPOSE_HEADER = "X-AI-Scientist-Purpose"
STEP_HEADER = "X-AI-Scientist-Step"
CALL_HEADER = "X-AI-Scientist-Call"
TRY_HEADER = "X-AI-Scientist-Try"

PURPOSES = (
    "plan",
    "hypotheses",
    "edit",
    "interpret",
    "mechanism",
    "plot",
    "section",
    "cite",
    "repair",
    "preflight",
)

_PASSED_OVER = {
    "try",
    "model",
    "prompt",
    "prompt_sha256",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "tokens_estimated",
    "cost_usd",
    "seconds",
    "outcome",
    "time",
    "problem",
    "comment",
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One reply of a recording, and the fault it scripts."""

    purpose: str
    step: str
    call: int
    reply: str
    expect: tuple[re.Pattern[str], ...] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    finish_reason: str = "stop"
    delay_s: float = 0.0
    drop: bool = False


Recording = Mapping[tuple[str, str, int], tuple[Line, ...]]


def load_recording(path: Path) -> Recording:
    """Read a recording, keyed by (purpose, step, call).

    Raises InputError naming file, line and key of what is wrong, for the person.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot read the recording {path}: {_reason(error)}",
            hint="name a file of JSON lines, such as a run's calls.jsonl: --model recorded:FILE",
        ) from None
    found: dict[tuple[str, str, int], list[Line]] = {}
    for number, raw in enumerate(text.split("\n"), 1):
        if not raw.strip():
            continue
        place = f"{path}, line {number}"
        entry = _object(raw, place)
        if entry.get("outcome", "ok") != "ok":
            continue
        line = _line(entry, place, seen=found)
        found.setdefault((line.purpose, line.step, line.call), []).append(line)
    if not found:
        raise InputError(
            f"the recording {path} holds no reply",
            hint='write one JSON object per line: {"purpose": …, "step": …, "reply": …}',
        )
    return {key: tuple(lines) for key, lines in found.items()}


class RecordedServer:
    """Serves a recording on 127.0.0.1 while the `with` block lasts.

    `url` is the base URL for an OpenAI client: http://127.0.0.1:PORT/v1. `requests` counts what
    was asked, for tests and reports.
    """

    def __init__(self, recording: Recording, *, name: str = "the recording") -> None:
        self.recording = recording
        self.name = name
        self.requests = 0
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self) -> str:
        """Base URL of the server, ending in /v1."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> RecordedServer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def find(self, purpose: str, step: str, call: int, attempt: int) -> Line | None:
        """Return the line for one HTTP try (`attempt` counts from 1); the last one repeats."""
        lines = self.recording.get((purpose, step, call))
        if lines:
            return lines[min(attempt, len(lines)) - 1]
        if purpose == "preflight":
            return Line(purpose=purpose, step=step, call=call, reply="ok")
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: RecordedServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up is an ordinary event."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the launcher's screen belongs to its progress."""

    def do_POST(self) -> None:
        """Answer one chat completion, or say in words why the recording cannot."""
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.split("?")[0].rstrip("/") != "/v1/chat/completions":
            self._refuse(404, f"nothing is served at {self.path}")
            return
        owner = self.server.owner
        owner.requests += 1
        try:
            body = json.loads(data)
            prompt = "\n".join(_content(message) for message in body["messages"])
            model = str(body["model"])
        except (ValueError, KeyError, TypeError):
            self._refuse(400, "the request is no chat completion: `model` and `messages` are due")
            return
        line = self._line_for_request(owner)
        if line is None:
            return
        missing = [pattern.pattern for pattern in line.expect if not pattern.search(prompt)]
        if missing:
            self._refuse(
                400,
                f"the recording does not fit: the prompt of {line.step}, call {line.call}, lacks "
                f"the expected pattern {missing[0]!r}",
            )
            return
        self._play(line, model, prompt)

    def _line_for_request(self, owner: RecordedServer) -> Line | None:
        purpose, step = self.headers.get(PURPOSE_HEADER), self.headers.get(STEP_HEADER)
        try:
            call = int(self.headers.get(CALL_HEADER) or "")
            attempt = max(1, int(self.headers.get(TRY_HEADER) or "1"))
        except ValueError:
            call, attempt = 0, 1
        if not purpose or not step or not call:
            self._refuse(
                400,
                f"a recorded model needs the headers {PURPOSE_HEADER}, {STEP_HEADER} and "
                f"{CALL_HEADER}",
            )
            return None
        line = owner.find(purpose, step, call, attempt)
        if line is None:
            self._refuse(
                400,
                f"the recording has no reply for purpose {purpose}, step {step}, call {call} "
                f"({owner.name})",
            )
        return line

    def _play(self, line: Line, model: str, prompt: str) -> None:
        if line.delay_s and self.server.owner.stopping.wait(line.delay_s):
            line = _DROPPED
        if line.drop:
            self.close_connection = True
            self.connection.close()
            return
        if line.status != 200:
            self._refuse(line.status, line.reply or f"scripted {line.status}", line.headers)
            return
        usage = {
            "prompt_tokens": _count_tokens(prompt),
            "completion_tokens": _count_tokens(line.reply),
            "total_tokens": _count_tokens(prompt) + _count_tokens(line.reply),
        }
        base = {"id": f"recorded-{line.step}-{line.call}", "created": 0, "model": model}
        message = {"role": "assistant", "content": line.reply}
        choice = {"index": 0, "message": message, "finish_reason": line.finish_reason}
        answer = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
        self._send(200, answer, line.headers)

    def _refuse(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        kind = "rate_limit_error" if status == 429 else "invalid_request_error"
        error = {"message": message, "type": kind, "param": None, "code": None}
        self._send(status, {"error": error}, headers or {})

    def _send(self, status: int, answer: Json, headers: Mapping[str, str]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


_DROPPED = Line(purpose="", step="", call=0, reply="", drop=True)


def _count_tokens(text: str) -> int:
    """Estimate tokens at four characters each: stable, and close for English and code."""
    return (len(text) + 3) // 4


def _content(message: Any) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content)


def _object(raw: str, place: str) -> Json:
    try:
        entry = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{place}: this is no JSON ({_reason(error)})",
            hint="a recording holds one JSON object per line",
        ) from None
    if not isinstance(entry, dict):
        raise InputError(f"{place}: this is no JSON object", hint="write {…} on each line")
    return entry


def _line(entry: Json, place: str, *, seen: Mapping[tuple[str, str, int], object]) -> Line:
    known = {*Line.__dataclass_fields__, *_PASSED_OVER}
    for key in entry.keys() - known:
        near = difflib.get_close_matches(key, sorted(known), n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(sorted(known))}"
        raise InputError(f"{place}: the key `{key}` is unknown", hint=hint)
    purpose = _value(entry, "purpose", str, place)
    if purpose not in PURPOSES:
        near = difflib.get_close_matches(purpose, PURPOSES, n=1)
        raise InputError(
            f"{place}: `purpose` is `{purpose}`, which no request has",
            hint=f"did you mean `{near[0]}`?" if near else f"one of: {', '.join(PURPOSES)}",
        )
    step = _value(entry, "step", str, place)
    places = sum(1 for before in seen if before[:2] == (purpose, step))
    drop = _value(entry, "drop", bool, place, False)
    status = _value(entry, "status", int, place, 200)
    empty = "" if drop or status != 200 else None
    return Line(
        purpose=purpose,
        step=step,
        call=_value(entry, "call", int, place, places + 1),
        reply=_value(entry, "reply", str, place, empty),
        expect=_patterns(entry.get("expect", []), place),
        status=status,
        headers={str(k): str(v) for k, v in _value(entry, "headers", dict, place, {}).items()},
        finish_reason=_value(entry, "finish_reason", str, place, "stop"),
        delay_s=float(_value(entry, "delay_s", (int, float), place, 0.0)),
        drop=drop,
    )


def _value(entry: Json, key: str, kind: Any, place: str, default: Any = None) -> Any:
    value = entry.get(key, default)
    if value is None:
        raise InputError(
            f"{place}: the key `{key}` is missing", hint="purpose, step and reply are due"
        )
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        names = [k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,))]
        raise InputError(
            f"{place}: `{key}` is {value!r:.60}, not of type {' or '.join(names)}",
            hint=f"correct `{key}` in this line",
        )
    return value


def _patterns(value: Any, place: str) -> tuple[re.Pattern[str], ...]:
    if not isinstance(value, list) or not all(isinstance(pattern, str) for pattern in value):
        raise InputError(
            f"{place}: `expect` is no list of patterns", hint='write "expect": ["…", "…"]'
        )
    try:
        return tuple(re.compile(pattern, re.MULTILINE) for pattern in value)
    except re.error as error:
        raise InputError(
            f"{place}: `expect` holds no regular expression: {error}",
            hint="escape ( [ . * + ? with a backslash",
        ) from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
