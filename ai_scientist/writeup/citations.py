"""Let the model ask for literature and choose among what was found, by number."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ai_scientist.protocols import Journal, Literature, Render
from ai_scientist.records import Json, ModelReply
from ai_scientist.writeup.bibliography import Entry, entry_of, same_work

MAX_QUERIES = 8
WORKS_PER_QUERY = 4
Ask = Callable[[str, str, str], ModelReply]
"""(purpose, step, text) -> reply."""


def gather_citations(
    entries: Mapping[str, Entry],
    *,
    ask: Ask,
    render: Render,
    literature: Literature,
    journal: Journal,
) -> tuple[dict[str, Entry], list[str]]:
    """Return the bibliography with the works the model chose, and queries nobody could answer."""
    reply = ask("cite", "paper/cite_queries", render("writeup/queries.j2", limit=MAX_QUERIES))
    queries = parse_queries(reply.text)
    found: list[Json] = []
    dropped: list[str] = []
    for number, query in enumerate(queries, 1):
        works = _find(query, number, literature, journal)
        if not works:
            dropped.append(f"nothing was found for: {query}")
        titles = {str(work["title"]).lower() for work in found}
        found += [work for work in works if str(work["title"]).lower() not in titles]
    found = [work for work in found if same_work(str(work["title"]), entries.values()) is None]
    if not found:
        return dict(entries), dropped
    reply = ask("cite", "paper/cite_choice", render("writeup/choose.j2", found=found))
    chosen = dict(entries)
    for number in parse_choice(reply.text, len(found)):
        entry = entry_of(found[number - 1], chosen)
        chosen[entry.key] = entry
    return chosen, dropped


def _find(query: str, number: int, literature: Literature, journal: Journal) -> Sequence[Any]:
    def perform() -> Json:
        return {"query": query, "works": list(literature.find(query, limit=WORKS_PER_QUERY))}

    works = journal.effect(f"paper/literature_{number}", perform)["works"]
    assert isinstance(works, list)
    return works


def parse_queries(reply: str) -> list[str]:
    """Return the queries of a reply, at most MAX_QUERIES."""
    lines = re.findall(r"^[\s>*\-0-9.]*\**QUERY\**:\**[ \t]*(.+?)\s*$", reply, re.MULTILINE)
    return list(dict.fromkeys(line.strip("`\"'* ")[:200] for line in lines))[:MAX_QUERIES]


def parse_choice(reply: str, count: int) -> list[int]:
    """Return the numbers, 1 to `count`, on the reply's last KEEP line."""
    lines = re.findall(r"^[\s>*]*\**KEEP\**:\**(.*)$", reply, re.MULTILINE)
    numbers = [int(n) for n in re.findall(r"\d{1,4}", lines[-1])] if lines else []
    return [n for n in dict.fromkeys(numbers) if 1 <= n <= count]
