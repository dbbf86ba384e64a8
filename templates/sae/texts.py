"""The texts of profile `full`: read from SAE_TEXTS, some held out, the others packed. Frozen.

    SAE_TEXTS/train     general text, such as a part of the Pile; its tokens are NEUTRAL
    SAE_TEXTS/forget    text of what is to be unlearned, such as WMDP's biology corpus; HAZARD
    SAE_TEXTS/retain    text like it that is to be kept, such as WMDP's retain corpus; BENIGN

Each is a folder of .jsonl or .parquet files with a column `text`; other files are not looked at.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from contract import stop
from corpus import BENIGN, HAZARD, NEUTRAL
from pretrained import input_folders

FOLDERS = {"train": NEUTRAL, "forget": HAZARD, "retain": BENIGN}
COLUMN = "text"
AT_ONCE = 512
"""Texts that the tokenizer is given."""


def read_texts(name: str) -> Iterator[str]:
    """Yield the texts of one of the person's data sets, in the order of its files.

    Ends with a sentence on what cannot be read.
    """
    texts = input_folders().get("SAE_TEXTS")
    if texts is None or not (texts / name).is_dir():
        stop(f"there is no folder SAE_TEXTS/{name}; it needs {', '.join(FOLDERS)}")
    files = sorted(
        path
        for path in (texts / name).rglob("*")
        if path.suffix in _READERS and not path.name.startswith(".")
    )
    if not files:
        stop(f"SAE_TEXTS/{name} holds no {' or '.join(_READERS)} file; put its texts there")
    for file in files:
        place = f"SAE_TEXTS/{file.relative_to(texts)}"
        try:
            for number, row in enumerate(_READERS[file.suffix](file), 1):
                if not isinstance(row, dict) or not isinstance(row.get(COLUMN), str):
                    stop(
                        f"{place}, row {number}, has no text in a column `{COLUMN}`; mend the file"
                    )
                yield row[COLUMN]
        except (OSError, ValueError) as error:  # pyarrow's are ValueErrors
            stop(f"{place} cannot be read: {str(error)[:200]}; mend the file or take it away")


def _read_jsonl(file: Path) -> Iterator[Any]:
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, filter(str.strip, lines))


def _read_parquet(file: Path) -> Iterator[Any]:
    import pyarrow.parquet

    for rows in pyarrow.parquet.ParquetFile(file).iter_batches(columns=[COLUMN]):
        yield from rows.to_pylist()


_READERS = {".jsonl": _read_jsonl, ".parquet": _read_parquet}


def tokenize_texts(
    texts: Iterator[str], tokenizer: Any, held_out: Set[int]
) -> Iterator[tuple[int, list[int]]]:
    """Yield the hash and the tokens of each text whose hash is not among `held_out` by then."""
    while batch := list(itertools.islice(texts, AT_ONCE)):
        rows = tokenizer(batch, add_special_tokens=False)["input_ids"]
        for text, tokens in zip(map(hash, batch), rows, strict=True):
            if text not in held_out:
                yield text, tokens


def hold_out(
    texts: Iterator[tuple[int, list[int]]], length: int, held_out: set[int], seed: int
) -> Iterator[list[int]]:
    """Yield rows of `length` tokens of which no two share a text, and note the texts' hashes.

    A text that fills several rows gives one of them, drawn by lot; short ones share a row.
    """
    drawn = random.Random(seed)
    waiting: list[int] = []
    for text, tokens in texts:
        held_out.add(text)
        waiting += tokens
        if filled := len(waiting) // length:
            start = length * drawn.randrange(filled)
            yield waiting[start : start + length]
            waiting = []


def pack(texts: Iterator[tuple[int, list[int]]], length: int) -> Iterator[list[int]]:
    """Yield rows of `length` tokens, filled with texts one after the other."""
    waiting: list[int] = []
    for _, tokens in texts:
        waiting += tokens
        end = len(waiting) - len(waiting) % length
        yield from (waiting[start : start + length] for start in range(0, end, length))
        waiting = waiting[end:]
