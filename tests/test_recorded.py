from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from ai_scientist.errors import InputError
from ai_scientist.model.recorded import RecordedServer, load_recording
from tests.waiting import PATIENCE_S

DELAY_S = 60
EDIT = {"purpose": "edit", "step": "run_1/edit_1"}


def write(path: Path, *lines: dict[str, Any] | str) -> Path:
    """Write a recording of `lines`; a str goes in as it is."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def ask(server: RecordedServer, prompt: str = "hello", *, attempt: int = 1, **what: Any) -> Any:
    """Send one chat completion through the openai SDK and return its answer."""
    where = {"purpose": "edit", "step": "run_1/edit_1", "call": 1, "try": attempt, **what}
    headers = {
        f"X-AI-Scientist-{key.title()}": str(where[key])
        for key in ("purpose", "step", "call", "try")
    }
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        return client.chat.completions.create(
            model="recorded",
            messages=[{"role": "user", "content": prompt}],
            extra_headers=headers,
            timeout=what.get("timeout", PATIENCE_S),
        )


def test_replies_are_found_by_purpose_step_and_call(tmp_path: Path) -> None:
    """A reply is chosen by the request's headers; `call` defaults to its place in the file."""
    path = write(
        tmp_path / "r.jsonl",
        {**EDIT, "reply": "first"},
        {"purpose": "plan", "step": "plan", "reply": "the plan"},
        {**EDIT, "reply": "second"},
    )
    with RecordedServer(load_recording(path)) as server:
        assert ask(server, call=2).choices[0].message.content == "second"
        answer = ask(server, call=1)
        assert answer.choices[0].message.content == "first"
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.prompt_tokens == 2
        assert answer.usage.completion_tokens == 2
        assert ask(server, purpose="plan", step="plan").choices[0].message.content == "the plan"
        assert server.requests == 3


def test_a_request_without_a_line_is_refused(tmp_path: Path) -> None:
    """There is no silent fallback; only the preflight, which asks for no content, has one."""
    path = write(tmp_path / "r.jsonl", {**EDIT, "reply": "x"})
    with RecordedServer(load_recording(path), name="r.jsonl") as server:
        with pytest.raises(openai.BadRequestError, match=r"no reply for purpose edit.*run_9"):
            ask(server, step="run_9/edit_1")
        with pytest.raises(openai.BadRequestError, match="needs the headers"):
            ask(server, call="")
        assert ask(server, purpose="preflight", step="preflight").choices


def test_a_prompt_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """A recording says what a prompt must hold, and names the pattern that is missing."""
    path = write(tmp_path / "r.jsonl", {**EDIT, "reply": "x", "expect": ["^def train", "lr = "]})
    with RecordedServer(load_recording(path)) as server:
        assert ask(server, "look:\ndef train():\n  lr = 1").choices
        with pytest.raises(openai.BadRequestError, match=r"does not fit.*'\^def train'"):
            ask(server, "no code here")


def test_scripted_faults(tmp_path: Path) -> None:
    """Further lines of one call answer its further HTTP tries: status, headers, drop, delay."""
    call = {**EDIT, "call": 1}
    path = write(
        tmp_path / "r.jsonl",
        {**call, "status": 429, "headers": {"Retry-After": "7"}},
        {**call, "drop": True},
        {**call, "reply": "late", "delay_s": DELAY_S},
        {**call, "reply": "good"},
    )
    with RecordedServer(load_recording(path)) as server:
        with pytest.raises(openai.RateLimitError) as caught:
            ask(server)
        assert caught.value.response.headers["retry-after"] == "7"
        with pytest.raises(openai.APIConnectionError):
            ask(server, attempt=2)
        with pytest.raises(openai.APITimeoutError):
            ask(server, timeout=0.2, attempt=3)
        for attempt in (4, 5):
            assert ask(server, attempt=attempt).choices[0].message.content == "good"
        closing = time.monotonic()
    assert time.monotonic() - closing < DELAY_S / 2, "closing waits for no delayed reply"


def test_the_calls_of_a_run_are_a_recording(tmp_path: Path) -> None:
    """calls.jsonl loads as it is; failed tries are the network's and are passed over."""
    full = {
        **EDIT,
        "call": 1,
        "try": 1,
        "model": "anthropic/claude-x",
        "prompt": [{"role": "user", "content": "hello"}],
        "prompt_sha256": "0" * 64,
        "reply": None,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "cached_tokens": 0,
        "cost_usd": None,
        "seconds": 0.1,
        "outcome": "429",
        "problem": "busy",
        "finish_reason": None,
        "time": "2026-01-01T00:00:00+00:00",
    }
    good = {**full, "try": 2, "reply": "fine", "outcome": "ok", "finish_reason": "length"}
    recording = load_recording(write(tmp_path / "calls.jsonl", full, good))
    (line,) = recording[("edit", "run_1/edit_1", 1)]
    assert (line.reply, line.finish_reason) == ("fine", "length")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{oops", "line 2: this is no JSON"),
        ("[]", "line 2: this is no JSON object"),
        ("[" * 100_000, "line 2: this is no JSON"),
        ({"purpose": "edit", "reply": "x"}, "line 2: the key `step` is missing"),
        ({**EDIT}, "line 2: the key `reply` is missing"),
        ({**EDIT, "reply": "x", "expct": []}, "line 2: the key `expct` is unknown"),
        ({**EDIT, "purpose": "edits", "reply": "x"}, "line 2: `purpose` is `edits`"),
        ({**EDIT, "reply": 3}, "line 2: `reply` is 3"),
        ({**EDIT, "reply": "x", "call": "two"}, "line 2: `call` is 'two'"),
        ({**EDIT, "reply": "x", "status": True}, "line 2: `status` is True"),
        ({**EDIT, "reply": "x", "expect": "a"}, "line 2: `expect` is no list"),
        ({**EDIT, "reply": "x", "expect": ["("]}, "line 2: `expect` holds no regular expression"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: dict[str, Any] | str, words: str) -> None:
    """Loading names the file, the line and the key that are wrong, with a remedy."""
    path = write(tmp_path / "r.jsonl", {**EDIT, "reply": "x"}, line)
    with pytest.raises(InputError) as caught:
        load_recording(path)
    assert words in caught.value.message
    assert "r.jsonl" in caught.value.message
    assert caught.value.hint


def test_a_missing_or_empty_recording_is_named(tmp_path: Path) -> None:
    """--model recorded:FILE with no such file, or nothing in it, is one plain sentence."""
    with pytest.raises(InputError, match="cannot read the recording"):
        load_recording(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="holds no reply"):
        load_recording(write(tmp_path / "empty.jsonl", ""))
