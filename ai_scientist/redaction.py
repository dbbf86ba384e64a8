"""Find keys and passwords in text that is about to be stored or sent, and redact them visibly.

    log, note, diff, prompt, reply --redact--> the text with `[redacted: GitHub Token]` in it

What counts is the form a provider gives its keys (detect-secrets' plugins, and a few below), never
how random a text looks: hashes, commits, numbers and base64 pictures are no secrets. So a password
without any form is found only behind a variable's name, and the person's own keys are hidden by
the model client, which knows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

# Left out: plugins that judge by entropy or by a word before `=`; those for IBM's services, whose
# patterns take longer than all others together; AWS's and basic authentication, whose patterns
# also find base64 pictures and f-strings: they have stricter forms below.
PLUGINS = (
    "AzureStorageKeyDetector",
    "DiscordBotTokenDetector",
    "GitHubTokenDetector",
    "GitLabTokenDetector",
    "JwtTokenDetector",
    "MailchimpDetector",
    "NpmDetector",
    "PypiTokenDetector",
    "SendGridDetector",
    "SlackDetector",
    "SquareOAuthDetector",
    "StripeDetector",
    "TelegramBotTokenDetector",
    "TwilioKeyDetector",
)
MIXED = r"(?=[\w-]*\d)(?=[\w-]*[A-Za-z])"
OWN_FORMS = (
    (
        "Private Key",
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?"
        r"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
    ),
    ("API Key", r"(?<![\w-])sk-(?:(?:ant|proj|or|svcacct|admin)-)[\w-]{16,}"),
    ("API Key", r"(?<![\w-])sk-(?=[\w-]*\d)(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[\w-]{20,}"),
    ("Hugging Face Token", r"(?<!\w)hf_(?=\w*[A-Z])(?=\w*[a-z])[A-Za-z0-9]{30,}"),
    ("GitHub Token", r"(?<!\w)github_pat_\w{40,}"),
    ("Google API Key", r"(?<!\w)AIza[\w-]{35}(?![\w-])"),
    (
        "Environment Variable",
        # As `env` or a .env file shows it: upper case, and a value that is a plain random word.
        r"(?<!\w)(?:[A-Z0-9]+_)*(?:API_?KEY|SECRET(?:_KEY)?|ACCESS_KEY|TOKEN|PASSWORD|PASSWD)"
        rf"['\"]?[ \t]*[=:][ \t]*['\"]?({MIXED}[\w+/=.-]{{12,}})",
    ),
    (
        "Authorization Header",
        rf"(?i)\bauthorization['\"]?\s*[:=]\s*['\"]?bearer\s+({MIXED}[\w+/=.-]{{12,}})",
    ),
    ("AWS Access Key", r"(?<![\w+/])(?:AKIA|ASIA)[0-9A-Z]{16}(?![\w+/])"),
    (
        "AWS Secret Key",
        r"(?i)aws.{0,20}?(?:key|secret).{0,20}?['\"= ]([0-9a-zA-Z/+]{40})(?![\w+/])",
    ),
    ("Basic Authentication", r"://[^\s:/?#@\[\]{}<>'\"]+:([^\s:/?#@\[\]{}<>'\"]+)@"),
)


@cache
def forms() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return (kind, pattern) of all secrets that are looked for."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

    own = [(kind, re.compile(pattern, re.DOTALL)) for kind, pattern in OWN_FORMS]
    classes: Mapping[str, Any] = get_mapping_from_secret_type_to_class()
    plugins = [
        (kind, pattern)
        for kind, plugin in classes.items()
        if plugin.__name__ in PLUGINS
        for pattern in plugin().denylist
    ]
    return (*own, *plugins)


def redact(text: str) -> tuple[str, tuple[str, ...]]:
    """Return `text` with each secret replaced by `[redacted: KIND]`, and the kinds in their order.

    Where a form has a group, only that part is replaced: the name before a password stays.
    Redacting twice changes nothing more.
    """
    kinds: list[str] = []
    for kind, pattern in forms():
        mark = f"[redacted: {kind}]"

        def replace(found: re.Match[str], kind: str = kind, mark: str = mark) -> str:
            whole = found[0]
            secret = found[found.lastindex] if found.lastindex else whole
            # A short group is a prefix, such as `ghp`, and not the secret.
            if not secret or len(secret) < len(whole) / 3 or secret not in whole:
                secret = whole
            kinds.append(kind)
            return whole.replace(secret, mark)

        text = pattern.sub(replace, text)
    return text, tuple(dict.fromkeys(kinds))


def redacted(text: str) -> str:
    """Return `text` without its secrets."""
    return redact(text)[0]


def redact_files(paths: Iterable[Path]) -> list[Path]:
    """Redact files in place, byte for byte where nothing is found; return those that exist."""
    there = [path for path in paths if path.is_file()]
    for path in there:
        # Latin-1 gives every byte back as it was.
        text, kinds = redact(path.read_bytes().decode("latin-1"))
        if kinds:
            path.write_bytes(text.encode("latin-1"))
    return there
