from __future__ import annotations

import json
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from ai_scientist.errors import BudgetSpent, ModelError, SetupError
from ai_scientist.model.client import Retries, estimate_tokens
from ai_scientist.model.prices import Price
from ai_scientist.model.recorded import RecordedServer, load_recording
from ai_scientist.records import Limits, Message
from ai_scientist.run_folder.journal import FolderJournal
from ai_scientist.testing import MemoryJournal
from tests.model_server import HELLO, KEY, ScriptedServer, ask, chat, claude, connect, refusal


def lines(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of calls.jsonl."""
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


def test_openai_shape(tmp_path: Path) -> None:
    """A call through the openai SDK: what is sent, what comes back, what is recorded."""
    cached = {"cached_tokens": 40}
    with (
        ScriptedServer(chat(prompt_tokens_details=cached)) as server,
        connect(tmp_path, server) as client,
    ):
        reply = ask(client)
    assert (reply.text, reply.finish_reason) == ("fine", "stop")
    assert (reply.prompt_tokens, reply.completion_tokens) == (100, 20)
    assert reply.cost_usd == pytest.approx((60 * 10 + 40 * 1 + 20 * 10) / 1e6)
    ((path, headers, body),) = server.requests
    assert path == "/chat/completions"
    assert body["model"] == "gpt-test"
    assert body["messages"][1] == {"role": "user", "content": "hello"}
    assert body["max_tokens"] == 8192
    assert "temperature" not in body
    assert not [name for name in headers if name.lower().startswith("x-ai-scientist")]
    (line,) = lines(tmp_path)
    assert line["prompt"][1] == {"role": "user", "content": "hello"}
    assert {k: line[k] for k in ("purpose", "step", "call", "try", "outcome", "reply")} == {
        "purpose": "edit",
        "step": "run_1/edit_1",
        "call": 1,
        "try": 1,
        "outcome": "ok",
        "reply": "fine",
    }
    assert line["cached_tokens"] == 40
    assert KEY not in json.dumps(line)


def test_anthropic_shape(tmp_path: Path) -> None:
    """A call through the anthropic SDK: cached prefix, thinking left out, cached tokens counted."""
    prices = {"claude-test": Price(input=3.0, output=15.0, cached=0.3, written=3.75)}
    answer = claude(cache_read_input_tokens=1000, cache_creation_input_tokens=100)
    with (
        ScriptedServer(answer, claude(stop="max_tokens")) as server,
        connect(tmp_path, server, "anthropic/claude-test-20250101", prices=prices) as client,
    ):
        reply = ask(client)
        assert ask(client).finish_reason == "length"
    assert (reply.text, reply.finish_reason, reply.prompt_tokens) == ("fine", "stop", 1110)
    cost = (10 * 3 + 1000 * 0.3 + 100 * 3.75 + 20 * 15) / 1e6
    assert reply.cost_usd == pytest.approx(cost)
    path, headers, body = server.requests[0]
    assert path == "/v1/messages"
    assert any(KEY in value for value in headers.values())
    assert body["system"][0]["text"] == "Be brief."
    assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert [turn["role"] for turn in body["messages"]] == ["user"]
    assert "temperature" not in body


def test_waits_as_the_server_says(tmp_path: Path) -> None:
    """429 and 500 are tried again, after Retry-After in seconds or as a date, capped."""
    waits: list[float] = []
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    began = time.monotonic()
    script = [
        refusal(429, Retry_After="7"),
        refusal(429, Retry_After=soon),
        refusal(503, Retry_After="9999"),
        refusal(500),
        chat(),
    ]
    with (
        ScriptedServer(*script) as server,
        connect(
            tmp_path, server, sleep=waits.append, retries=Retries(tries=6), jitter=lambda: 1.0
        ) as client,
    ):
        assert ask(client).text == "fine"
    assert waits[0] == 7
    assert 49 - (time.monotonic() - began) < waits[1] <= 50  # a date has whole seconds
    assert waits[2:] == [60, 12.0]
    assert [line["outcome"] for line in lines(tmp_path)] == ["429", "429", "503", "500", "ok"]
    assert [line["try"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", ["gpt-test", "anthropic/claude-x"])
@pytest.mark.parametrize(
    ("fault", "outcome", "tries", "words"),
    [
        (refusal(401, f"bad key {KEY}"), "401", 1, "refused the API key"),
        (refusal(403, f"not for {KEY}"), "403", 1, "does not let this key use the model"),
        (refusal(404), "404", 1, "does not know the model"),
        (refusal(400, "too long"), "400", 1, "answered 400: too long"),
        (refusal(429, "busy"), "429", 3, "answered 429: busy (in each of 3 tries)"),
        (refusal(529, "overloaded"), "529", 3, "answered 529: overloaded"),
        (refusal(409, "conflict"), "409", 3, "answered 409"),
        ((200, {}, b"<html>{oops"), "garbage", 3, "no chat reply"),
        ((200, {"Content-Type": "text/html"}, b"<p>hi</p>"), "garbage", 3, "no chat reply"),
        ((200, {}, {"hello": "there"}), "garbage", 3, "no chat reply"),
        ((200, {}, {**chat([{"no": "type"}])[2], "content": [{}]}), "garbage", 3, "no chat reply"),
        ((200, {}, "drop"), "connection", 3, "cannot reach"),
    ],
)
def test_faults_end_in_a_sentence(
    tmp_path: Path, *, name: str, fault: Any, outcome: str, tries: int, words: str
) -> None:
    """Faults that pass are tried a bounded number of times, others once; no key is in the words."""
    journal = MemoryJournal()
    with (
        ScriptedServer(fault) as server,
        connect(tmp_path, server, name, journal=journal) as client,
    ):
        with pytest.raises(ModelError) as caught:
            ask(client)
        assert client.spent.calls == 0
    assert words in caught.value.message
    assert caught.value.hint
    assert [line["outcome"] for line in lines(tmp_path)] == [outcome] * tries
    assert len(server.requests) == tries
    assert not journal.results, "a failed try is never an effect"
    assert [facts["outcome"] for facts in journal.notes("call_failed")] == [outcome] * tries
    everything = (tmp_path / "calls.jsonl").read_text() + str(journal.lines) + str(caught.value)
    assert KEY not in everything
    assert KEY not in repr(caught.value.__context__)


def test_a_hanging_server_ends_by_the_time_limit(tmp_path: Path) -> None:
    """A server that never answers costs the time limit per try, not the night."""
    with (
        ScriptedServer((200, {}, "hang")) as server,
        connect(tmp_path, server, timeout_s=0.2, retries=Retries(tries=2)) as client,
        pytest.raises(ModelError, match="did not answer in time"),
    ):
        ask(client)
    assert [line["outcome"] for line in lines(tmp_path)] == ["timeout", "timeout"]


@pytest.mark.parametrize("name", ["gpt-test", "anthropic/claude-x"])
def test_an_unreachable_server_is_named(tmp_path: Path, name: str) -> None:
    """Nobody listens at --base-url: the message names host and port; the preflight says it too."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{closed.getsockname()[1]}"
        with connect(tmp_path, f"http://{host}/v1", name) as client:
            with pytest.raises(ModelError, match=host):
                ask(client)
            with pytest.raises(SetupError, match=host) as caught:
                client.ping()
    assert "--base-url" in caught.value.hint


def test_a_cut_off_reply_says_so(tmp_path: Path) -> None:
    """finish_reason `length` reaches the caller."""
    with ScriptedServer(chat("half", finish="length")) as server, connect(tmp_path, server) as c:
        assert ask(c).finish_reason == "length"


def test_the_name_of_the_output_limit_is_learnt(tmp_path: Path) -> None:
    """A server that refuses max_tokens gets max_completion_tokens, now and in later calls."""
    words = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens'."
    waits: list[float] = []
    with (
        ScriptedServer(refusal(400, words), chat()) as server,
        connect(tmp_path, server, sleep=waits.append) as client,
    ):
        ask(client)
        ask(client)
    names = [sorted(k for k in body if k.startswith("max_")) for _, _, body in server.requests]
    assert names == [["max_tokens"], ["max_completion_tokens"], ["max_completion_tokens"]]
    assert waits == []


def test_a_server_that_does_not_count_is_estimated(tmp_path: Path) -> None:
    """A reply without usage is counted by length, and the record says that it is an estimate."""
    status, headers, body = chat("four" * 10)
    del body["usage"]
    server = ScriptedServer((status, headers, body))
    with server, connect(tmp_path, server) as client:
        reply = ask(client)
    assert reply.prompt_tokens == estimate_tokens(HELLO) > 0
    assert reply.completion_tokens == 12
    assert lines(tmp_path)[0]["tokens_estimated"] is True


def test_a_new_process_pays_nothing_twice(tmp_path: Path) -> None:
    """The same questions asked by a new client over the same journal are answered from it."""
    with ScriptedServer(chat("one"), chat("two"), chat("three")) as server:
        journal = FolderJournal(tmp_path / "events.jsonl")
        with connect(tmp_path, server, journal=journal) as client:
            assert [ask(client).text, ask(client).text] == ["one", "two"]
            before = client.spent
        journal.close()
        journal = FolderJournal(tmp_path / "events.jsonl")
        with connect(tmp_path, server, journal=journal) as client:
            assert client.spent == before
            assert [ask(client).text for _ in range(3)] == ["one", "two", "three"]
            assert client.spent.calls == 3
            assert client.spent.cost_usd == pytest.approx(before.cost_usd * 1.5)
        journal.close()
    assert len(server.requests) == 3
    keys = [key for key, _ in journal.entries()]
    assert keys == [f"run_1/edit_1/call_{n}" for n in (1, 2, 3)]


def test_a_reply_is_the_same_text_when_it_is_read_again(tmp_path: Path) -> None:
    """What no file can hold is replaced at once, so that a resumed idea goes on from the same."""
    texts = []
    with ScriptedServer(chat("half \ud800 of a pair")) as server:
        for _ in range(2):
            journal = FolderJournal(tmp_path / "events.jsonl")
            with connect(tmp_path, server, journal=journal) as client:
                texts.append(ask(client).text)
            journal.close()
    assert texts == ["half ? of a pair"] * 2
    assert len(server.requests) == 1


def test_a_reply_in_parts_is_joined_without_the_models_thoughts(tmp_path: Path) -> None:
    """Some servers of OpenAI's protocol send a list of parts; what is no text stays out."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "fi"},
        {"type": "text", "text": "ne"},
    ]
    with ScriptedServer(chat(parts)) as server, connect(tmp_path, server) as client:
        assert ask(client).text == "fine"


def test_a_line_lost_to_a_kill_is_written_later(tmp_path: Path) -> None:
    """The journal is the truth: calls.jsonl gets the lines it lacks, a torn one is cut off."""
    journal = MemoryJournal()
    with ScriptedServer(chat("one"), chat("two")) as server:
        with connect(tmp_path, server, journal=journal) as client:
            ask(client)
            ask(client)
        whole = (tmp_path / "calls.jsonl").read_bytes()
        first = whole.index(b"\n") + 1
        (tmp_path / "calls.jsonl").write_bytes(whole[: first + 40])
        connect(tmp_path, server, journal=journal).close()
    assert (tmp_path / "calls.jsonl").read_bytes() == whole


def test_a_changed_prompt_is_noted(tmp_path: Path) -> None:
    """A stored reply is used although the prompt differs now, and the journal says so."""
    journal = MemoryJournal()
    with ScriptedServer(chat("one")) as server:
        with connect(tmp_path, server, journal=journal) as client:
            ask(client)
        with connect(tmp_path, server, journal=journal) as client:
            other = (Message(role="user", content="something else"),)
            assert client.ask(purpose="edit", step="run_1/edit_1", messages=other).text == "one"
    ((kind, facts),) = journal.lines
    assert (kind, facts["key"]) == ("prompt_changed", "run_1/edit_1/call_1")
    assert facts["stored"] != facts["now"]


def test_the_cap_on_cost_stops_before_the_call(tmp_path: Path) -> None:
    """A call that may pass --max-cost-usd is not made; the sentence names all three sums."""
    limits = Limits(max_cost_usd=0.15)
    with (
        ScriptedServer(chat(prompt_tokens=10_000)) as server,
        connect(tmp_path, server, limits=limits) as client,
    ):
        ask(client)
        with pytest.raises(BudgetSpent) as caught:
            ask(client)
    assert len(server.requests) == 1
    assert "$0.1002 is spent" in caught.value.message
    assert "may cost up to $0.08" in caught.value.message
    assert caught.value.hint == f"--resume {tmp_path} --max-cost-usd 1"


def test_the_cap_on_prompt_tokens(tmp_path: Path) -> None:
    """--max-prompt-tokens holds for models of any price."""
    limits = Limits(max_cost_usd=None, max_prompt_tokens=105)
    with ScriptedServer(chat()) as server, connect(tmp_path, server, limits=limits) as client:
        ask(client)
        with pytest.raises(BudgetSpent, match="100 prompt tokens are spent") as caught:
            ask(client)
    assert "--max-prompt-tokens" in caught.value.hint


def test_an_unknown_price_is_not_zero(tmp_path: Path) -> None:
    """An unlisted model costs null; with a cap the person is told once."""
    told: list[str] = []
    with (
        ScriptedServer(chat()) as server,
        connect(tmp_path, server, "llama-local", limits=Limits(), warn=told.append) as client,
    ):
        assert ask(client).cost_usd is None
        ask(client)
        assert client.spent.unknown_cost_calls == 2
        assert client.spent.prompt_tokens == 200
    assert lines(tmp_path)[0]["cost_usd"] is None
    assert len(told) == 1
    assert "llama-local" in told[0]


def test_the_preflight_is_made_anew_and_counted(tmp_path: Path) -> None:
    """ping() is a real call in every process; what it cost is not forgotten by the next."""
    journal = MemoryJournal()
    with ScriptedServer(chat()) as server:
        for done in (1, 2):
            with connect(tmp_path, server, journal=journal) as client:
                client.ping()
                assert client.spent.calls == done
    assert len(server.requests) == 2
    assert journal.results == {}
    assert {line["step"] for line in lines(tmp_path)} == {"preflight"}


def test_the_recorded_model_end_to_end(tmp_path: Path) -> None:
    """`recorded` speaks to its server with the headers; faults it scripts go the real way."""
    call = {"purpose": "edit", "step": "run_1/edit_1", "call": 1}
    script = [
        {**call, "status": 500},
        {**call, "reply": "good"},
        {**call, "call": 2, "reply": "more", "expect": ["hello"]},
        {**call, "call": 3, "reply": "never", "expect": ["good bye"]},
    ]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in script))
    with (
        RecordedServer(load_recording(tmp_path / "r.jsonl")) as server,
        connect(tmp_path, server, "recorded", keys={}, limits=Limits()) as client,
    ):
        client.ping()
        assert [ask(client).text, ask(client).text] == ["good", "more"]
        with pytest.raises(ModelError, match="the recording does not fit"):
            ask(client)
        with pytest.raises(ModelError, match="no reply for purpose edit, step run_7"):
            ask(client, "run_7/edit_1")
        assert client.spent.cost_usd == 0.0
        assert client.spent.unknown_cost_calls == 0
    again = load_recording(tmp_path / "calls.jsonl")
    assert again[("edit", "run_1/edit_1", 1)][0].reply == "good"
