"""One HTTP request to a model's server, through the vendor's own SDK; its failure in our words.

client.py --Wire.send(messages)--> Answer | CallFailed     (no retry here, and none in the SDKs)
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import ModuleType
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from ai_scientist.errors import InputError, SetupError
from ai_scientist.records import Message

Provider = Literal["anthropic", "openai", "recorded"]
FORMS = (
    "`anthropic/claude-…`, `openai/gpt-…`, any name with --base-url, `recorded` or `recorded:FILE`"
)
_HOMES = {"anthropic": "https://api.anthropic.com", "openai": "https://api.openai.com/v1"}
_PASSING = {408, 409, 425, 429}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one successful request brought back."""

    text: str
    finish_reason: str
    """`stop`, `length`, or the server's own word."""
    prompt_tokens: int | None
    """All prompt tokens, cached ones included; None when the server does not count."""
    completion_tokens: int | None
    cached_tokens: int = 0
    written_tokens: int = 0


class CallFailed(Exception):
    """One request failed; caught in client.py, which may try again."""

    def __init__(
        self,
        outcome: str,
        sentence: str,
        *,
        hint: str = "",
        passing: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(sentence)
        self.outcome = outcome
        self.sentence = sentence
        self.hint = hint
        self.passing = passing
        """Whether the same request may well succeed later."""
        self.retry_after_s = retry_after_s


class Wire(Protocol):
    """One server and one model."""

    def send(
        self, messages: Sequence[Message], *, max_tokens: int, headers: Mapping[str, str]
    ) -> Answer:
        """Make one request. Raises CallFailed."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def split_model_name(
    name: str, *, base_url: str | None, known: Sequence[str]
) -> tuple[Provider, str]:
    """Return the SDK to use and the model's name at its server.

    Raises InputError, with the accepted forms and near names, for the person.
    """
    if name == "recorded" or name.startswith("recorded:"):
        return "recorded", "recorded"
    prefix, slash, rest = name.partition("/")
    if slash and rest.strip() and prefix == "anthropic":
        return "anthropic", rest
    if slash and rest.strip() and prefix == "openai":
        return "openai", rest
    if base_url and name.strip():
        return "openai", name
    full = [f"{_home_of(model)}/{model}" for model in known]
    near = [f for f in full if f.split("/")[1] == (rest or name)] or difflib.get_close_matches(
        name if slash else f"{_home_of(name)}/{name}", [*full, "recorded"], n=3, cutoff=0.6
    )
    guess = f"did you mean {', '.join(f'`{one}`' for one in near)}? " if near else ""
    raise InputError(f"unknown model name `{name}`", hint=f"{guess}accepted: {FORMS}")


def find_url(provider: Provider, *, base_url: str | None, key: str | None) -> str:
    """Return the address of the model's server.

    Raises SetupError when a key or the recorded server's address is missing, InputError when
    `base_url` is no address.
    """
    if provider == "recorded" and not base_url:
        raise SetupError("the recorded model has no server", hint="start RecordedServer first")
    if provider != "recorded" and not base_url and not key:
        variable = f"{provider.upper()}_API_KEY"
        raise SetupError(
            f"no API key for {provider}", hint=f"set {variable}, or use `--model recorded`"
        )
    url = base_url or _HOMES[provider]
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise InputError(f"`{url}` is no base URL", hint="write it like http://localhost:11434/v1")
    return url


def check_model(
    name: str, *, keys: Mapping[str, str], base_url: str | None, known: Sequence[str]
) -> None:
    """Raise InputError or SetupError, for the person, when no client can be opened for `name`."""
    provider, _ = split_model_name(name, base_url=base_url, known=known)
    if provider != "recorded":
        find_url(provider, base_url=base_url, key=keys.get(provider))


def open_wire(
    provider: Provider, model: str, *, url: str, key: str | None, timeout_s: float
) -> Wire:
    """Return the connection to a model's server; nothing is sent yet."""
    if provider == "anthropic":
        return AnthropicWire(model, url=url, key=key, timeout_s=timeout_s)
    return OpenAIWire(model, url=url, key=key, timeout_s=timeout_s)


class OpenAIWire:
    """Chat completions, at OpenAI or at any server that speaks them."""

    def __init__(self, model: str, *, url: str, key: str | None, timeout_s: float) -> None:
        import openai

        self._model, self._url, self._sdk = model, url, openai
        # OpenAI's newer models refuse max_tokens, other servers know nothing else; the 400 that
        # names the wrong one turns this round.
        home = url.rstrip("/") == _HOMES["openai"]
        self._limit = "max_completion_tokens" if home else "max_tokens"
        self._client = openai.OpenAI(**_connection(openai, url, key, timeout_s))

    def send(
        self, messages: Sequence[Message], *, max_tokens: int, headers: Mapping[str, str]
    ) -> Answer:
        """Make one request. Raises CallFailed."""
        body = [{"role": message.role, "content": _clean(message.content)} for message in messages]
        failure = None
        try:
            response: Any = self._client.chat.completions.create(
                model=self._model,
                messages=body,  # type: ignore[arg-type]
                extra_headers=dict(headers),
                extra_body={self._limit: max_tokens},
            )
        except Exception as error:
            failure = _explain(error, self._sdk, url=self._url, model=self._model, vendor="openai")
        if failure is not None:
            if failure.outcome == "400" and "max_" in failure.sentence:
                failure.passing = self._turn_limit(failure.sentence)
            raise failure  # out here: the SDK's exception holds the request, and with it the key
        try:
            choice = response.choices[0]
            text = _text_of(choice.message.content)
            usage = response.usage
        except (AttributeError, IndexError, KeyError, TypeError):
            raise _garbage(self._url) from None
        details = getattr(usage, "prompt_tokens_details", None)
        return Answer(
            text=text,
            finish_reason=choice.finish_reason or "stop",
            prompt_tokens=getattr(usage, "prompt_tokens", None),
            completion_tokens=getattr(usage, "completion_tokens", None),
            cached_tokens=getattr(details, "cached_tokens", None) or 0,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _turn_limit(self, sentence: str) -> bool:
        """Use the other name of the output limit when the server refused this one."""
        if f"'{self._limit}'" not in sentence and f" {self._limit} " not in f" {sentence} ":
            return False
        if getattr(self, "_turned", False):
            return False
        self._turned = True
        other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
        self._limit = other[self._limit]
        return True


class AnthropicWire:
    """Anthropic's messages, with the stable head of the prompt marked for its cache."""

    def __init__(self, model: str, *, url: str, key: str | None, timeout_s: float) -> None:
        import anthropic

        self._model, self._url, self._sdk = model, url, anthropic
        self._client = anthropic.Anthropic(**_connection(anthropic, url, key, timeout_s))

    def send(
        self, messages: Sequence[Message], *, max_tokens: int, headers: Mapping[str, str]
    ) -> Answer:
        """Make one request. Raises CallFailed."""
        system = "\n\n".join(_clean(m.content) for m in messages if m.role == "system")
        turns = [m for m in messages if m.role != "system"]
        body: dict[str, Any] = {"messages": [_turn(m, last=m is turns[-1]) for m in turns]}
        if system:
            body["system"] = [_cached_block(system)]
        failure = None
        try:
            response: Any = self._client.messages.create(
                model=self._model, max_tokens=max_tokens, extra_headers=dict(headers), **body
            )
        except Exception as error:
            failure = _explain(
                error, self._sdk, url=self._url, model=self._model, vendor="anthropic"
            )
        if failure is not None:
            raise failure  # out here, as above
        try:
            text = _clean("".join(part.text for part in response.content if part.type == "text"))
            usage = response.usage
            read = getattr(usage, "cache_read_input_tokens", None) or 0
            written = getattr(usage, "cache_creation_input_tokens", None) or 0
            reason = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length"}
            return Answer(
                text=text,
                finish_reason=reason.get(response.stop_reason, response.stop_reason or "stop"),
                prompt_tokens=usage.input_tokens + read + written,
                completion_tokens=usage.output_tokens,
                cached_tokens=read,
                written_tokens=written,
            )
        except (AttributeError, TypeError):
            raise _garbage(self._url) from None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _text_of(content: str | list[dict[str, Any]] | None) -> str:
    """Return a reply's text; some servers send it in parts, with the model's thoughts beside it."""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part["type"] == "text")
    return _clean(content or "")


def _cached_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}


def _turn(message: Message, *, last: bool) -> dict[str, Any]:
    # The last turn is marked as well: a step's retry sends all of this again, with more behind it.
    text = _clean(message.content)
    return {"role": message.role, "content": [_cached_block(text)] if last and text else text}


def _explain(error: Exception, sdk: ModuleType, *, url: str, model: str, vendor: str) -> CallFailed:
    """Say in a plain sentence what an SDK's exception means; keys never get into it."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    if isinstance(error, sdk.APITimeoutError):
        return CallFailed("timeout", f"{host} did not answer in time", passing=True)
    if isinstance(error, sdk.APIConnectionError):
        return CallFailed(
            "connection",
            f"cannot reach the model's server at {host}",
            hint=f"check that it runs and that --base-url is right ({url})"
            if url != _HOMES[vendor]
            else "check the network connection",
            passing=True,
        )
    if isinstance(error, sdk.APIStatusError):
        return _explain_status(error, host=host, model=model, vendor=vendor)
    if isinstance(error, sdk.APIError | ValueError):
        return _garbage(url)
    raise error


def _explain_status(error: Any, *, host: str, model: str, vendor: str) -> CallFailed:
    status = int(error.status_code)
    said = _message_of(error)
    if status == 401:
        variable = f"{vendor.upper()}_API_KEY"
        return CallFailed(
            "401", f"{host} refused the API key ({variable})", hint=f"set a valid {variable}"
        )
    if status == 403:
        return CallFailed(
            "403",
            f"{host} does not let this key use the model `{model}`: {said}",
            hint="ask for access, or choose another --model",
        )
    if status == 404:
        return CallFailed(
            "404",
            f"{host} does not know the model `{model}`",
            hint="check the name after the provider, and --base-url; accepted: " + FORMS,
        )
    passing = status in _PASSING or status >= 500
    return CallFailed(
        str(status),
        f"{host} answered {status}: {said}",
        passing=passing,
        retry_after_s=_retry_after(error.response.headers.get("retry-after")) if passing else None,
    )


def _message_of(error: Any) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error")
        body = inner.get("message", "") if isinstance(inner, dict) else body.get("message", "")
    text = " ".join(str(body or error.response.reason_phrase).split())
    return text[:400]


def _retry_after(value: str | None) -> float | None:
    """Return the seconds a Retry-After header asks for, given as seconds or as a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _garbage(url: str) -> CallFailed:
    host = urlsplit(url).netloc.rpartition("@")[2]
    return CallFailed(
        "garbage",
        f"{host} answered with something that is no chat reply",
        hint="check --base-url: it usually ends in /v1",
        passing=True,
    )


def _clean(text: str) -> str:
    # Half a surrogate pair can neither be sent nor stored as UTF-8.
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _connection(sdk: Any, url: str, key: str | None, timeout_s: float) -> dict[str, Any]:
    """Return what both makers' clients are built with; retries are ours to make and to count."""
    return {
        "api_key": key or "none",
        "base_url": url,
        "max_retries": 0,
        "timeout": sdk.Timeout(timeout_s, connect=min(15.0, timeout_s)),
        "http_client": sdk.DefaultHttpxClient(trust_env=False) if _is_local(url) else None,
    }


def _is_local(url: str) -> bool:
    # A proxy set for the outside world must not get what is meant for this machine.
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def _home_of(model: str) -> str:
    return "anthropic" if model.lower().startswith("claude") else "openai"
