"""Keys never reach a file or a prompt, and what only looks random stays as it is."""

from __future__ import annotations

import hashlib
import random
import string
from pathlib import Path

import pytest

from ai_scientist.redaction import redact, redact_files
from tests.doors import PROJECT

RANDOM = random.Random(7)


def letters(count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """A random word; no test file holds a key that another scanner would find."""
    return "".join(RANDOM.choice(alphabet) for _ in range(count - 3)) + "aZ9"


UPPER = string.ascii_uppercase + string.digits
SECRETS = {
    "sk-ant-api03-" + letters(60): "API Key",
    "sk-proj-" + letters(40): "API Key",
    "sk-" + letters(48): "API Key",
    "hf_" + letters(34): "Hugging Face Token",
    "ghp_" + letters(36): "GitHub Token",
    "github_pat_" + letters(60): "GitHub Token",
    "glpat-" + letters(20): "GitLab Token",
    "AIza" + letters(35): "Google API Key",
    "AKIA" + "".join(RANDOM.choice(UPPER) for _ in range(16)): "AWS Access Key",
    "xoxb-123456789012-" + letters(24).lower(): "Slack Token",
    "-----BEGIN RSA PRIVATE KEY-----\nb3Bl\nbnNz\n-----END RSA PRIVATE KEY-----": "Private Key",
}


@pytest.mark.parametrize("secret", SECRETS)
def test_a_key_is_replaced_and_the_mark_says_its_kind(secret: str) -> None:
    """In the middle of a log, in quotes, and in JSON: the key is gone, the rest stays."""
    text = f"loading…\nkey = '{secret}'\nloss 0.25\n"
    clean, kinds = redact(text)
    mark = f"[redacted: {SECRETS[secret]}]"
    assert clean == text.replace(secret, mark)
    assert kinds == (SECRETS[secret],)
    assert redact(clean) == (clean, ())


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("WANDB_API_KEY=", hashlib.sha1(b"x").hexdigest(), "\nHOME=/"),
        ("export AWS_SECRET_ACCESS_KEY='", letters(40), "'"),
        ('"DB_PASSWORD": "', letters(16), '",'),
        ("Authorization: Bearer ", letters(30), "\r\n"),
        ("https://person:", "hunter2", "@example.org/x.git"),
    ],
)
def test_a_name_or_a_place_gives_a_secret_away(before: str, value: str, after: str) -> None:
    """What has no form of its own is found behind a variable's name, and only it is replaced."""
    clean, kinds = redact(before + value + after)
    assert value not in clean
    assert clean.startswith(before)
    assert clean.endswith(after)
    assert len(kinds) == 1


@pytest.mark.parametrize(
    "text",
    [
        "commit 9e4cd33ab0f2c7d1e5b6a7980c1d2e3f40516273",
        f"sha256 = {hashlib.sha256(b'x').hexdigest()}",
        "final_loss: 232.12254333496094, 4.0e-05, [0.1, 0.2]",
        "pad_token = tokenizer.eos_token; max_tokens: int = 8192",
        "PAD_TOKEN_ID = 50256\nCHARACTERS_PER_TOKEN = 3.5\nAPI_KEY = os.environ['API_KEY']",
        "url = f'postgres://{user}:{password}@{host}/db'",
        "http://127.0.0.1:8765/runs/20261120T201500Z_label_smoothing_digits",
        "<div class='sk-toggleable__label-arrow sk-container-id-1'>",
        "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAKIAAQAAAAAABAAHAM0AHElEQVQI12P4",
    ],
)
def test_what_only_looks_random_stays(text: str) -> None:
    """Hashes, commits, floats, code, addresses and pictures are no secrets."""
    assert redact(text) == (text, ())


def test_no_false_alarm_in_what_this_project_holds(finished_digits: Path) -> None:
    """Every source, prompt and recording, and all records of a whole run, pass unchanged."""
    own = [
        path
        for kind in ("*.py", "*.j2", "*.jsonl", "*.md")
        for path in PROJECT.glob(f"*/**/{kind}")
    ]
    made = [
        path
        for path in finished_digits.rglob("*")
        if path.suffix in (".txt", ".jsonl", ".log", ".diff")
    ]
    checked = 0
    for path in (*own, *made):
        hidden = any(part.startswith(".") for part in path.relative_to(path.anchor).parts)
        if not hidden and path.name != "test_redaction.py":
            assert redact(path.read_text(errors="replace"))[1] == (), path
            checked += 1
    assert checked > 100


def test_files_are_redacted_in_place_and_else_left_alone(tmp_path: Path) -> None:
    """A log with a key is rewritten; one with odd bytes and no key keeps every byte."""
    secret = next(iter(SECRETS))
    (tmp_path / "stderr.log").write_bytes(b"\xff\xfe " + secret.encode() + b" \x00")
    (tmp_path / "stdout.log").write_bytes(bytes(range(256)))
    names = ("stderr.log", "stdout.log", "none.log")
    there = redact_files(tmp_path / name for name in names)
    assert [path.name for path in there] == ["stderr.log", "stdout.log"]
    assert (tmp_path / "stderr.log").read_bytes() == b"\xff\xfe [redacted: API Key] \x00"
    assert (tmp_path / "stdout.log").read_bytes() == bytes(range(256))
