"""Catalogs over real HTTP on loopback: whatever they answer, a paper goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ai_scientist.inputs.prompts import Prompts
from ai_scientist.testing import MemoryJournal, make_reply
from ai_scientist.writeup.bibliography import entry_of, parse_bibliography
from ai_scientist.writeup.citations import gather_citations, parse_choice, parse_queries
from ai_scientist.writeup.literature import (
    Catalog,
    WebLiterature,
    arxiv,
    choose_catalogs,
    crossref,
    openalex,
    semantic_scholar,
)
from ai_scientist.writeup.parts import Effort
from tests.doors import PROJECT
from tests.paper_desk import BIB, SECTIONS, Desk
from tests.waiting import PATIENCE_S

S2 = {
    "data": [
        {
            "title": "Sparse Autoencoders & Their 100% Limits_",
            "authors": [{"name": "Zoë Müller-Łukasz"}, {"name": "Ann B. Chan"}],
            "year": 2024,
            "venue": "ICLR",
            "externalIds": {"DOI": "10.1/x_y"},
            "abstract": "On limits → of autoencoders.",
        }
    ]
}
OPENALEX = {
    "results": [
        {
            "title": "A Study of Unlearning",
            "authorships": [{"author": {"display_name": "Grace Hopper"}}],
            "publication_year": 2025,
            "primary_location": {"source": {"display_name": "TMLR"}},
            "doi": "https://doi.org/10.2/z",
            "abstract_inverted_index": {"unlearning": [1], "On": [0]},
        }
    ]
}
CROSSREF = {
    "message": {
        "items": [
            {
                "title": ["Dictionary Learning"],
                "author": [{"given": "Alan", "family": "Turing"}],
                "issued": {"date-parts": [[1951, 3]]},
                "container-title": ["Mind"],
                "DOI": "10.3/t",
            }
        ]
    }
}
ATOM = (
    '<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>http://arxiv.org/abs/2309.08600v3</id>'
    "<published>2023-09-15T00:00:00Z</published><title>Highly\n  Interpretable Features</title>"
    "<summary>We use sparse autoencoders.</summary><author><name>Hoagy Cunningham</name></author>"
    "</entry></feed>"
)
Answer = Callable[[BaseHTTPRequestHandler], None]
SHORT_S = 1.0
"""What is waited for a catalog that never answers, and for the good one after it."""


class Provider(ThreadingHTTPServer):
    """A catalog that answers as a test tells it, and counts."""

    daemon_threads = True
    closing: threading.Event
    answers: list[Answer]
    hits: list[str]


@contextmanager
def provider(*answers: Answer) -> Iterator[Provider]:
    """Serve `answers` in turn, the last one again and again."""
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.hits.append(self.path)
            server.answers[min(len(server.hits), len(server.answers)) - 1](self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = Provider(("127.0.0.1", 0), Handler)
    server.answers, server.hits, server.closing = list(answers), [], closing
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def says(body: object, status: int = 200, **headers: str) -> Answer:
    """Answer with a body and headers."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def drips(handler: BaseHTTPRequestHandler) -> None:
    """Begin an answer and never finish it, one byte at a time."""
    handler.send_response(200)
    handler.end_headers()
    while not of(handler).closing.wait(0.05):
        try:
            handler.wfile.write(b" ")
            handler.wfile.flush()
        except OSError:
            return


def hangs(handler: BaseHTTPRequestHandler) -> None:
    """Answer nothing for longer than anybody waits."""
    of(handler).closing.wait()


def of(handler: BaseHTTPRequestHandler) -> Provider:
    """Return the catalog that is asked."""
    assert isinstance(handler.server, Provider)
    return handler.server


def floods(handler: BaseHTTPRequestHandler) -> None:
    """Send megabytes."""
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(200):
            handler.wfile.write(b"x" * 100_000)
    except OSError:
        return


def address(server: Provider) -> str:
    """Return where a provider listens."""
    return f"http://127.0.0.1:{server.server_port}/search"


def literature(
    cache: Path, *catalogs: Catalog, waits: list[float] | None = None, timeout_s: float = PATIENCE_S
) -> WebLiterature:
    """Return literature over `catalogs` that notes how long it would wait."""
    note = waits if waits is not None else []
    return WebLiterature(
        catalogs=catalogs, cache=cache / "literature", timeout_s=timeout_s, sleep=note.append
    )


@pytest.mark.parametrize(
    ("body", "make", "expected"),
    [
        (
            S2,
            lambda where: semantic_scholar(address=where),
            ("Sparse Autoencoders & Their 100% Limits_", "Zoë Müller-Łukasz", "2024", "10.1/x_y"),
        ),
        (
            OPENALEX,
            lambda where: openalex(key="k", address=where),
            ("A Study of Unlearning", "Grace Hopper", "2025", "10.2/z"),
        ),
        (
            CROSSREF,
            lambda where: crossref(mailto="a@b.org", address=where),
            ("Dictionary Learning", "Alan Turing", "1951", "10.3/t"),
        ),
        (
            ATOM.encode(),
            lambda where: arxiv(address=where),
            ("Highly Interpretable Features", "Hoagy Cunningham", "2023", ""),
        ),
    ],
)
def test_each_catalog_is_read(
    tmp_path: Path, body: object, make: Callable[[str], Catalog], expected: tuple[str, ...]
) -> None:
    """Four answer formats become the same kind of work, and the answer is kept on disk."""
    with provider(says(body)) as server:
        found = literature(tmp_path, make(address(server))).find("sparse  autoencoders")
        again = literature(tmp_path, make(address(server))).find("Sparse autoencoders")
        assert len(server.hits) == 1
    seen = [(w["title"], w["authors"][0], w["year"], w["doi"]) for w in found]
    assert (seen, again) == ([expected], found)


@pytest.mark.parametrize(
    ("bad", "hits", "waits"),
    [
        ([says({}, 403)], 1, []),
        ([says({}, 401)], 1, []),
        ([says({}, 404)], 1, []),
        ([says({}, 429, Retry_After="3")], 2, [3.0]),
        ([says({}, 429, Retry_After="3600")], 1, []),
        ([says({}, 429, Retry_After="Fri, 20 Nov 2026 21:00:00 GMT")], 1, []),
        ([says({}, 500)], 2, [1.0]),
        ([says(b"<html>garbage")], 1, []),
        ([says(b"\xff\xfe\x00")], 1, []),
        ([says({"data": "nonsense"})], 1, []),
        ([says([])], 1, []),
        ([floods], 1, []),
        ([drips], 2, [1.0]),
        ([hangs], 2, [1.0]),
    ],
    ids=[
        "forbidden",
        "unauthorized",
        "missing",
        "wait",
        "wait-long",
        "wait-until",
        "broken",
        "html",
        "bytes",
        "nonsense",
        "list",
        "floods",
        "drips",
        "hangs",
    ],
)
def test_a_bad_catalog_is_passed_over(
    tmp_path: Path, bad: list[Answer], hits: int, waits: list[float]
) -> None:
    """Refusals, waits, garbage, floods and silence cost bounded time; the next catalog answers."""
    waited: list[float] = []
    with provider(*bad) as broken, provider(says(CROSSREF)) as good:
        found = literature(
            tmp_path,
            semantic_scholar(address=address(broken)),
            crossref(address=address(good)),
            waits=waited,
            timeout_s=SHORT_S if {drips, hangs} & set(bad) else PATIENCE_S,
        )
        works = found.find("dictionary learning")
        assert (len(broken.hits), waited) == (hits, waits)
    assert [work["title"] for work in works] == ["Dictionary Learning"]
    assert found.problems[0].startswith("Semantic Scholar: ")


def test_a_catalog_that_recovers_is_used(tmp_path: Path) -> None:
    """After a 429 with a short wait the same catalog is asked again and believed."""
    with provider(says({}, 429, Retry_After="1"), says(S2)) as server:
        works = literature(tmp_path, semantic_scholar(address=address(server))).find("limits")
    assert len(works) == 1


def test_a_refused_catalog_is_left_alone(tmp_path: Path) -> None:
    """A catalog that refused once is not asked again in the session."""
    with provider(says({}, 403)) as server:
        found = literature(tmp_path, semantic_scholar(address=address(server)))
        assert [list(found.find(query)) for query in ("one thing", "another thing")] == [[], []]
        assert len(server.hits) == 1


def test_offline_the_kept_works_are_searched(tmp_path: Path) -> None:
    """Without any catalog, works found before answer queries that share words with them."""
    with provider(says(S2)) as server:
        literature(tmp_path, semantic_scholar(address=address(server))).find("first query")
    offline = literature(tmp_path)
    assert [work["year"] for work in offline.find("limits of sparse autoencoders")] == ["2024"]
    assert offline.find("completely unrelated subject") == []
    (tmp_path / "literature" / "broken.json").write_text("{")
    assert len(offline.find("sparse autoencoders limits")) == 1


def test_keys_decide_the_order() -> None:
    """Catalogs with a key come first; OpenAlex is not asked without one."""
    assert [c.name for c in choose_catalogs()] == ["Crossref", "arXiv", "Semantic Scholar"]
    keyed = choose_catalogs(semantic_scholar_key="s", openalex_key="o", mailto="a@b.org")
    assert [c.name for c in keyed] == ["Semantic Scholar", "OpenAlex", "Crossref", "arXiv"]
    assert keyed[0].headers == {"x-api-key": "s"}


def test_bibtex_is_written_by_code(tmp_path: Path) -> None:
    """Keys are stable and unique, specials are escaped, and what is written can be read again."""
    with provider(says(S2)) as server:
        work = literature(tmp_path, semantic_scholar(address=address(server))).find("x y z")[0]
    first = entry_of(work, {})
    second = entry_of(work, {first.key})
    assert (first.key, second.key) == ("mullerukasz2024sparse", "mullerukasz2024sparse2")
    assert r"Sparse Autoencoders \& Their 100\% Limits\_" in first.bibtex
    assert parse_bibliography(first.bibtex)[0][0].key == first.key
    hostile = entry_of({"title": "} \\input{x", "authors": ["}{"], "url": "javascript:'}"}, {})
    assert parse_bibliography(hostile.bibtex)[1] == []
    assert "\\input{x" not in hostile.bibtex


def test_the_model_chooses_by_number(tmp_path: Path) -> None:
    """Queries and choices are read from plain lines; a query without an answer is listed."""
    asked: list[str] = []
    replies = iter(["1. QUERY: limits\n- **QUERY:** nothing known\nQUERY: limits", "KEEP: 1, 9"])
    journal = MemoryJournal()

    def ask(purpose: str, step: str, text: str) -> object:
        asked.append(f"{purpose} {step} {text}")
        return make_reply(next(replies))

    with provider(says(S2), says({"data": []})) as server:
        entries, dropped = gather_citations(
            {},
            ask=ask,  # type: ignore[arg-type]
            render=Prompts(PROJECT / "prompts"),
            literature=literature(tmp_path, semantic_scholar(address=address(server))),
            journal=journal,
        )
    assert list(entries) == ["mullerukasz2024sparse"]
    assert dropped == ["nothing was found for: nothing known"]
    assert "[1] Sparse Autoencoders & Their 100% Limits_" in asked[1]
    assert set(journal.results) == {"paper/literature_1", "paper/literature_2"}


@pytest.mark.parametrize(
    ("reply", "numbers"),
    [("KEEP: none", []), ("nonsense", []), ("KEEP: 3\nKEEP: 1, 1, 2, 0, 77", [1, 2])],
)
def test_odd_choices(reply: str, numbers: list[int]) -> None:
    """Only numbers of works that were shown count."""
    assert parse_choice(reply, 3) == numbers
    assert parse_queries(reply) == []


def test_a_found_work_is_cited_in_the_paper(tmp_path: Path) -> None:
    """From the query to the reference list: found, chosen by number, cited by key, typeset."""
    text = SECTIONS["related_work"] + "Limits are known \\citep{mullerukasz2024sparse}.\n"
    with provider(says(S2)) as server:
        desk = Desk(
            tmp_path,
            template_files={"references.bib": BIB},
            script={
                ("cite", "paper/cite_queries"): ["QUERY: limits of autoencoders"],
                ("cite", "paper/cite_choice"): ["KEEP: 1"],
                ("section", "paper/section_related_work"): [text],
            },
            options={
                "literature": literature(tmp_path, semantic_scholar(address=address(server))),
                "effort": Effort(drafts=1),
            },
        )
        outcome = desk.write()
    assert (outcome.compiled, outcome.findings, outcome.citations_dropped) == (True, (), ())
    assert "mullerukasz2024sparse" in (desk.paper.latex / "references.bib").read_text()


def test_a_persons_own_works_can_be_cited(tmp_path: Path) -> None:
    """What stands in a person's .bib is cited like the template's; where keys meet, it wins."""
    own = tmp_path / "references.bib"
    own.write_text(
        "@misc{hopper2026own, title={A Work of My Own}, author={Hopper, Grace}, year={2026}}\n"
        "@misc{cunningham2023sparse, title={Mine Instead}, author={Me}, year={2023}}\n"
    )
    text = SECTIONS["related_work"] + "This was done before \\citep{hopper2026own}.\n"
    desk = Desk(tmp_path / "desk", script={("section", "paper/section_related_work"): [text]})
    desk.paper = replace(desk.paper, references=own)
    desk.options = {"compile": None}
    assert desk.write().citations_dropped == ()
    placed = (desk.paper.latex / "references.bib").read_text()
    assert "A Work of My Own" in placed
    assert "Mine Instead" in placed
