"""The one place every model call passes: it journals, prices, caps, retries and records.

    ask --key step/call_n--> in the journal? the stored reply, unpaid
                             else  budget --> wire.send, bounded tries --> journal, calls.jsonl

The journal's effect holds the whole record of a call, and calls.jsonl is its projection: when a
kill fell between the two, the missing line is written when the next client opens. A failed try is
never an effect; it goes to calls.jsonl first and then, without its prompt, to the journal as a
note.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ai_scientist.errors import BudgetSpent, ModelError, SetupError
from ai_scientist.model.prices import FREE, Price, find_price, load_prices
from ai_scientist.model.recorded import CALL_HEADER, PURPOSE_HEADER, STEP_HEADER, TRY_HEADER
from ai_scientist.model.wire import Answer, CallFailed, Wire, find_url, open_wire, split_model_name
from ai_scientist.protocols import Journal
from ai_scientist.records import Json, Limits, Message, ModelReply
from ai_scientist.redaction import redacted
from ai_scientist.run_folder.journal import append_line, read_events

PREFLIGHT = "preflight"
CHARACTERS_PER_TOKEN = 3.5
"""For estimates before a call, and for servers that do not count: on the high side for English."""


class CallJournal(Journal, Protocol):
    """A journal that can also tell what it holds."""

    def entries(self) -> Iterable[tuple[str, Json]]:
        """Yield (key, result) of every finished effect."""
        ...


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often, and how long apart, a request that failed in passing is made again."""

    tries: int = 6
    first_wait_s: float = 1.0
    """Doubled after each try, with up to half of it added at random."""
    max_wait_s: float = 60.0
    """Caps a server's Retry-After too."""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a run folder has cost, earlier processes included."""

    cost_usd: float = 0.0
    """Of the calls whose price is known."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    calls: int = 0
    unknown_cost_calls: int = 0


class ModelClient:
    """Implements protocols.Model for one run folder.

    `keys` maps `anthropic` and `openai` to API keys, `calls` is the path of calls.jsonl, `warn`
    is told once when a cap on cost cannot be kept because the price is unknown. Raises InputError
    for a bad model name or base URL, SetupError for a missing key.
    """

    def __init__(
        self,
        name: str,
        *,
        journal: CallJournal,
        calls: Path,
        limits: Limits,
        keys: Mapping[str, str] | None = None,
        base_url: str | None = None,
        max_tokens: int = 8192,
        timeout_s: float = 300.0,
        retries: Retries | None = None,
        prices: Mapping[str, Price] | None = None,
        warn: Callable[[str], None] = lambda sentence: None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        prices = load_prices() if prices is None else prices
        self._secrets = [key for key in (keys or {}).values() if len(key) > 3]
        self._provider, self._model = split_model_name(
            name, base_url=base_url, known=sorted(prices)
        )
        self._known = sorted(prices)
        self._key = (keys or {}).get(self._provider)
        self._url = find_url(self._provider, base_url=base_url, key=self._key)
        self.name = name
        self.price = FREE if self._provider == "recorded" else find_price(self._model, prices)
        self._journal, self._limits, self._retries = journal, limits, retries or Retries()
        self._max_tokens, self._timeout_s = max_tokens, timeout_s
        self._warn, self._sleep, self._jitter, self._clock = warn, sleep, jitter, clock
        self._warned = False
        self._asked: Counter[str] = Counter()
        self._wire: Wire | None = None
        self._spent = Spent()
        self._costs: dict[str, list[float | None]] = {}
        self._calls = self._open_calls(calls)

    @property
    def spent(self) -> Spent:
        """What this run folder has cost so far, replies answered from the journal included."""
        return self._spent

    def ask(self, *, purpose: str, step: str, messages: Sequence[Message]) -> ModelReply:
        """Return the reply to `messages`; see protocols.Model.ask."""
        messages = [replace(m, content=self._hide_keys(m.content)) for m in messages]
        self._asked[step] += 1
        number = self._asked[step]
        key = f"{step}/call_{number}"
        digest = hash_prompt(messages)
        made = False

        def perform() -> Json:
            nonlocal made
            made = True
            return self._call(purpose, step, number, messages, max_tokens=self._max_tokens)

        record = self._journal.effect(key, perform)
        if made:
            append_line(self._calls, record)
            self._count(record)
        if record["prompt_sha256"] != digest:
            facts = {"key": key, "stored": record["prompt_sha256"], "now": digest}
            self._journal.note("prompt_changed", facts)
        return _as_reply(record)

    def ping(self) -> ModelReply:
        """Make one tiny call that is always made anew, to see that model, key and server work.

        Raises SetupError in place of ModelError: nothing has begun yet.
        """
        self._asked[PREFLIGHT] += 1
        message = Message(role="user", content="Reply with the word ok.")
        try:
            record = self._call(
                PREFLIGHT, PREFLIGHT, self._asked[PREFLIGHT], [message], max_tokens=64
            )
        except ModelError as error:
            raise SetupError(error.message, hint=error.hint) from None
        append_line(self._calls, record)
        self._count(record)
        return _as_reply(record)

    def estimate_cost_usd(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return what such a call costs without any cache; None when the price is unknown."""
        if self.price is None:
            return None
        return self.price.cost_usd(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)

    def close(self) -> None:
        """Close connections and files."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        if self._calls >= 0:
            os.close(self._calls)
            self._calls = -1

    def __enter__(self) -> ModelClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _call(
        self,
        purpose: str,
        step: str,
        number: int,
        messages: Sequence[Message],
        *,
        max_tokens: int,
    ) -> Json:
        """Make one paid call, with its tries, and return its record."""
        self._check_budget(step, messages, max_tokens)
        if self._wire is None:
            self._wire = open_wire(
                self._provider,
                self._model,
                url=self._url,
                key=self._key,
                timeout_s=self._timeout_s,
            )
        turned = 0
        attempt = 0
        while True:
            attempt += 1
            record = self._start_record(purpose, step, number, attempt, messages)
            headers = self._headers(purpose, step, number, attempt)
            started = time.monotonic()
            failure, answer = None, None
            try:
                answer = self._wire.send(messages, max_tokens=max_tokens, headers=headers)
            except CallFailed as error:
                failure = error
            record["seconds"] = round(time.monotonic() - started, 3)
            if answer is not None:
                return self._finish_record(record, answer, messages)
            assert failure is not None
            self._record_failure(record, failure)
            # The 400 about max_tokens passes once: the wire then uses the other name, at once.
            turned += failure.outcome == "400"
            if not failure.passing or attempt - turned >= self._retries.tries:
                raise self._give_up(failure, attempt)
            if failure.outcome != "400":
                self._sleep(self._wait_s(failure, attempt - turned))

    def _headers(self, purpose: str, step: str, number: int, attempt: int) -> dict[str, str]:
        if self._provider != "recorded":
            return {}
        return {
            PURPOSE_HEADER: purpose,
            STEP_HEADER: step,
            CALL_HEADER: str(number),
            TRY_HEADER: str(attempt),
        }

    def _wait_s(self, failure: CallFailed, attempt: int) -> float:
        if failure.retry_after_s is not None:
            return min(failure.retry_after_s, self._retries.max_wait_s)
        wait: float = self._retries.first_wait_s * 2 ** (attempt - 1)
        return min(wait * (1 + self._jitter() / 2), self._retries.max_wait_s)

    def _give_up(self, failure: CallFailed, attempt: int) -> ModelError:
        sentence = self._hide_keys(failure.sentence)
        if failure.passing and attempt > 1:
            sentence += f" (in each of {attempt} tries)"
        if failure.outcome == "404":
            near = difflib.get_close_matches(self._model, self._known, n=2, cutoff=0.7)
            if near and self._model not in near:
                failure.hint = f"did you mean {' or '.join(near)}? " + failure.hint
        later = "try again later with --resume; nothing is paid for twice"
        if self._provider == "recorded":
            later = "take the idea and options it was recorded for, or name a model with --model"
        hint = failure.hint or later
        return ModelError(sentence, hint=hint)

    def _check_budget(self, step: str, messages: Sequence[Message], max_tokens: int) -> None:
        """Raise BudgetSpent when the next call may pass a cap."""
        spent, limits = self._spent, self._limits
        tokens = estimate_tokens(messages)
        cap = limits.max_prompt_tokens
        folder = self._folder
        if cap is not None and spent.prompt_tokens + tokens > cap:
            raise BudgetSpent(
                f"{spent.prompt_tokens} prompt tokens are spent, the next call ({step}) needs "
                f"about {tokens} more, and the cap is {cap}",
                hint=f"--resume {folder} --max-prompt-tokens {2 * cap + tokens}",
            )
        if limits.max_cost_usd is None:
            return
        if self.price is None:
            if not self._warned:
                self._warned = True
                self._warn(
                    f"the price of {self.name} is not known: its cost is recorded as unknown, and "
                    f"the cap of ${limits.max_cost_usd:g} cannot be kept; --max-prompt-tokens can"
                )
            return
        most = replace(self.price, input=max(self.price.input, self.price.written or 0.0))
        next_usd = most.cost_usd(prompt_tokens=tokens, completion_tokens=max_tokens)
        if spent.cost_usd + next_usd > limits.max_cost_usd:
            larger = math.ceil(spent.cost_usd + max(next_usd, limits.max_cost_usd))
            raise BudgetSpent(
                f"${spent.cost_usd:.4f} is spent, the next call ({step}) may cost up to "
                f"${next_usd:.4f}, and the cap is ${limits.max_cost_usd:g}",
                hint=f"--resume {folder} --max-cost-usd {larger}",
            )

    def _start_record(
        self, purpose: str, step: str, number: int, attempt: int, messages: Sequence[Message]
    ) -> Json:
        prompt = [{"role": m.role, "content": m.content} for m in messages]
        return {
            "time": self._clock().isoformat(timespec="milliseconds"),
            "model": self.name,
            "purpose": purpose,
            "step": step,
            "call": number,
            "try": attempt,
            "prompt": prompt,
            "prompt_sha256": hash_prompt(messages),
            "reply": None,
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "cached_tokens": 0,
            "cost_usd": None,
            "seconds": 0.0,
            "outcome": "ok",
            "finish_reason": None,
        }

    def _finish_record(self, record: Json, answer: Answer, messages: Sequence[Message]) -> Json:
        prompt_tokens, completion_tokens = answer.prompt_tokens, answer.completion_tokens
        if prompt_tokens is None or completion_tokens is None:
            record["tokens_estimated"] = True
            prompt_tokens = estimate_tokens(messages)
            completion_tokens = math.ceil(len(answer.text) / CHARACTERS_PER_TOKEN)
        record["reply"] = self._hide_keys(answer.text)
        record["finish_reason"] = answer.finish_reason
        record["prompt_tokens"] = prompt_tokens
        record["completion_tokens"] = completion_tokens
        record["cached_tokens"] = answer.cached_tokens
        if self.price is not None:
            record["cost_usd"] = self.price.cost_usd(
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
                cached_tokens=answer.cached_tokens,
                written_tokens=answer.written_tokens,
            )
        return record

    def _record_failure(self, record: Json, failure: CallFailed) -> None:
        record["outcome"] = failure.outcome
        record["problem"] = self._hide_keys(failure.sentence)
        append_line(self._calls, record)
        facts = ("model", "purpose", "step", "call", "try", "outcome", "problem", "seconds")
        self._journal.note("call_failed", {name: record[name] for name in facts})

    def cost_of(self, step: str) -> float | None:
        """Return what the calls of one step have cost; None when a price is unknown."""
        costs = self._costs.get(step, [])
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    def _count(self, record: Json) -> None:
        spent, cost = self._spent, record["cost_usd"]
        self._costs.setdefault(record["step"], []).append(cost)
        self._spent = Spent(
            cost_usd=spent.cost_usd + (cost or 0.0),
            prompt_tokens=spent.prompt_tokens + record["prompt_tokens"],
            completion_tokens=spent.completion_tokens + record["completion_tokens"],
            calls=spent.calls + 1,
            unknown_cost_calls=spent.unknown_cost_calls + (cost is None),
        )

    def _open_calls(self, path: Path) -> int:
        """Open calls.jsonl, count what is paid, and write the lines a kill left unwritten."""
        self._folder = path.parent
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [line for line in read_events(path, repair=True) if line.get("outcome") == "ok"]
        written = {(line.get("step"), line.get("call")) for line in lines}
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        for _, record in self._journal.entries():
            if "prompt_sha256" in record and "completion_tokens" in record:
                self._count(record)
                if (record["step"], record["call"]) not in written:
                    append_line(descriptor, record)
        for line in lines:
            if line.get("step") == PREFLIGHT:
                self._count(line)
        return descriptor

    def _hide_keys(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[API key]")
        return redacted(text)


def _as_reply(record: Json) -> ModelReply:
    return ModelReply(
        text=record["reply"],
        finish_reason=record["finish_reason"],
        prompt_tokens=record["prompt_tokens"],
        completion_tokens=record["completion_tokens"],
        cost_usd=record["cost_usd"],
        seconds=record["seconds"],
    )


def hash_prompt(messages: Sequence[Message]) -> str:
    """Return the SHA-256 of a conversation, roles included."""
    turns = [[message.role, message.content] for message in messages]
    return hashlib.sha256(json.dumps(turns).encode()).hexdigest()


def estimate_tokens(messages: Sequence[Message]) -> int:
    """Estimate the prompt tokens of a conversation at 3.5 characters each, 4 more per turn."""
    characters = sum(len(message.content) for message in messages)
    return math.ceil(characters / CHARACTERS_PER_TOKEN) + 4 * len(messages)
