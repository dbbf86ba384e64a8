"""Find works in public catalogs, politely, and remember them.

Four catalogs behind one method: Semantic Scholar, OpenAlex, Crossref, arXiv. Each is asked in turn
until one knows something. A catalog that refuses (401, 403), asks for a long wait or fails twice is
left alone for the rest of the session; what one answers is kept on disk, and without any catalog
the kept works are searched. A failing catalog never fails a paper.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ai_scientist.records import Json
from ai_scientist.run_folder.journal import write_json

LARGEST_ANSWER = 4_000_000
LONGEST_WAIT_S = 20.0
AGENT = "ai_scientist/0.1"


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """One public catalog: how to ask it, and how to read its answer."""

    name: str
    address: str
    ask: Callable[[str, int], Mapping[str, str]]
    """(query, limit) -> parameters of the request."""
    read: Callable[[bytes], list[Json]]
    """Raises ValueError, KeyError, TypeError or AttributeError when it is not what it should be."""
    headers: Mapping[str, str] = field(default_factory=dict)


class CatalogError(Exception):
    """A catalog did not answer as it should; `final` when asking it again makes no sense."""

    def __init__(self, message: str, *, final: bool = False, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.final = final
        self.wait_s = wait_s


@dataclass(kw_only=True)
class WebLiterature:
    """Asks catalogs in order; keeps what they answer in `cache`."""

    catalogs: Sequence[Catalog]
    cache: Path
    timeout_s: float = 10.0
    """For one whole answer, however slowly it drips."""
    tries: int = 2
    sleep: Callable[[float], None] = time.sleep
    problems: list[str] = field(default_factory=list)
    """What went wrong, for the report."""
    _closed: set[str] = field(default_factory=set)

    def find(self, query: str, *, limit: int = 8) -> Sequence[Json]:
        """Return up to `limit` works; empty when nobody knows any or nobody can be reached."""
        query = " ".join(query.split())[:300]
        if not query:
            return []
        kept = self._kept(query)
        if kept is not None:
            return kept[:limit]
        for catalog in self.catalogs:
            works = self._asked(catalog, query, limit)
            if works:
                self._keep(query, catalog.name, works)
                return works[:limit]
        return self._known(query)[:limit]

    def _asked(self, catalog: Catalog, query: str, limit: int) -> list[Json]:
        for number in range(self.tries):
            if catalog.name in self._closed:
                return []
            try:
                return [w for w in catalog.read(self._fetch(catalog, query, limit)) if w["title"]]
            except CatalogError as error:
                self.problems.append(f"{catalog.name}: {error}")
                wait_s = 2.0**number if error.wait_s is None else error.wait_s
                if error.final or wait_s > LONGEST_WAIT_S or number + 1 == self.tries:
                    self._closed.add(catalog.name)
                else:
                    self.sleep(wait_s)
            except (ValueError, KeyError, TypeError, AttributeError, ET.ParseError) as error:
                self.problems.append(f"{catalog.name}: unreadable answer ({error})")
                return []
        return []

    def _fetch(self, catalog: Catalog, query: str, limit: int) -> bytes:
        """Return the body of the answer. Raises CatalogError."""
        import httpx

        started = time.monotonic()
        body = b""
        headers = {"User-Agent": AGENT, **catalog.headers}
        try:
            with httpx.stream(
                "GET",
                catalog.address,
                params=dict(catalog.ask(query, limit)),
                headers=headers,
                timeout=self.timeout_s,
                follow_redirects=True,
            ) as answer:
                _refuse(answer.status_code, answer.headers.get("retry-after"))
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > LARGEST_ANSWER:
                        raise CatalogError("the answer is too large", final=True)
                    if time.monotonic() - started > self.timeout_s:
                        raise CatalogError(f"no whole answer within {self.timeout_s:g} s")
        except httpx.HTTPError as error:
            raise CatalogError(f"{type(error).__name__}: {error}") from error
        return body

    # --- what is kept

    def _file(self, query: str) -> Path:
        return self.cache / f"{hashlib.sha256(query.lower().encode()).hexdigest()[:32]}.json"

    def _kept(self, query: str) -> list[Json] | None:
        return _read_works(self._file(query)) or None

    def _keep(self, query: str, catalog: str, works: Sequence[Json]) -> None:
        facts = {"query": query, "catalog": catalog, "works": list(works)}
        write_json(self._file(query), facts)

    def _known(self, query: str) -> list[Json]:
        """Return kept works that share at least two words with `query`, the closest first."""
        wanted = _words(query)
        if not wanted or not self.cache.is_dir():
            return []
        scored: dict[str, tuple[int, Json]] = {}
        for path in sorted(self.cache.glob("*.json")):
            for work in _read_works(path):
                shared = len(wanted & _words(f"{work['title']} {work.get('abstract') or ''}"))
                if shared >= min(2, len(wanted)):
                    scored.setdefault(str(work["title"]).lower(), (shared, work))
        return [work for _, work in sorted(scored.values(), key=lambda pair: -pair[0])]


def _refuse(status: int, retry_after: str | None) -> None:
    """Raise CatalogError unless `status` is a success."""
    if status < 400:
        return
    wait_s: float | None = None
    if retry_after is not None:
        try:
            wait_s = max(0.0, float(retry_after))
        except ValueError:
            wait_s = LONGEST_WAIT_S + 1  # a date: longer than a paper waits
    again = status == 429 or status >= 500
    raise CatalogError(f"HTTP {status}", final=not again, wait_s=wait_s)


def _read_works(path: Path) -> list[Json]:
    try:
        works = json.loads(path.read_text(encoding="utf-8"))["works"]
        return [work for work in works if isinstance(work, dict) and work.get("title")]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]{4,}", text.lower()))


# --- the catalogs


def choose_catalogs(
    *,
    semantic_scholar_key: str | None = None,
    openalex_key: str | None = None,
    mailto: str | None = None,
) -> tuple[Catalog, ...]:
    """Return the catalogs to ask, those with a key first; Crossref and arXiv need none."""
    keyed: list[Catalog] = []
    if semantic_scholar_key:
        keyed.append(semantic_scholar(key=semantic_scholar_key))
    if openalex_key:
        keyed.append(openalex(key=openalex_key))
    free = [crossref(mailto=mailto), arxiv()]
    if not semantic_scholar_key:
        free.append(semantic_scholar())
    return (*keyed, *free)


def semantic_scholar(
    *,
    key: str | None = None,
    address: str = "https://api.semanticscholar.org/graph/v1/paper/search",
) -> Catalog:
    """Return Semantic Scholar; without a key its shared pool often answers 429."""
    fields = "title,authors,year,venue,abstract,externalIds,url"
    return Catalog(
        name="Semantic Scholar",
        address=address,
        ask=lambda query, limit: {"query": query, "limit": str(limit), "fields": fields},
        read=_read_semantic_scholar,
        headers={"x-api-key": key} if key else {},
    )


def _read_semantic_scholar(body: bytes) -> list[Json]:
    return [
        _work(
            title=item.get("title"),
            authors=[author.get("name") for author in item.get("authors") or []],
            year=item.get("year"),
            venue=item.get("venue"),
            doi=(item.get("externalIds") or {}).get("DOI"),
            url=item.get("url"),
            abstract=item.get("abstract"),
        )
        for item in json.loads(body).get("data") or []
    ]


def openalex(*, key: str, address: str = "https://api.openalex.org/works") -> Catalog:
    """Return OpenAlex, which asks for a free key."""
    return Catalog(
        name="OpenAlex",
        address=address,
        ask=lambda query, limit: {"search": query, "per-page": str(limit), "api_key": key},
        read=_read_openalex,
    )


def _read_openalex(body: bytes) -> list[Json]:
    works = []
    for item in json.loads(body)["results"]:
        source = (item.get("primary_location") or {}).get("source") or {}
        words = item.get("abstract_inverted_index") or {}
        placed = sorted((at, word) for word, places in words.items() for at in places)
        works.append(
            _work(
                title=item.get("title"),
                authors=[a["author"]["display_name"] for a in item.get("authorships") or []],
                year=item.get("publication_year"),
                venue=source.get("display_name"),
                doi=str(item.get("doi") or "").removeprefix("https://doi.org/"),
                url=item.get("id"),
                abstract=" ".join(word for _, word in placed),
            )
        )
    return works


def crossref(
    *, mailto: str | None = None, address: str = "https://api.crossref.org/works"
) -> Catalog:
    """Return Crossref; with `mailto` its polite pool answers."""
    polite = {"mailto": mailto} if mailto else {}
    return Catalog(
        name="Crossref",
        address=address,
        ask=lambda query, limit: {"query.bibliographic": query, "rows": str(limit), **polite},
        read=_read_crossref,
    )


def _read_crossref(body: bytes) -> list[Json]:
    works = []
    for item in json.loads(body)["message"]["items"]:
        dates = ((item.get("issued") or {}).get("date-parts") or [[None]])[0]
        works.append(
            _work(
                title=" ".join(item.get("title") or []),
                authors=[
                    f"{a.get('given', '')} {a.get('family', '')}".strip()
                    for a in item.get("author") or []
                ],
                year=dates[0] if dates else None,
                venue=" ".join(item.get("container-title") or []),
                doi=item.get("DOI"),
                url=item.get("URL"),
                abstract=re.sub(r"<[^>]+>", " ", item.get("abstract") or ""),
            )
        )
    return works


def arxiv(*, address: str = "https://export.arxiv.org/api/query") -> Catalog:
    """Return arXiv, whose answers are Atom feeds."""
    return Catalog(
        name="arXiv",
        address=address,
        ask=lambda query, limit: {
            "search_query": " AND ".join(f"all:{word}" for word in re.findall(r"\w+", query)[:8]),
            "max_results": str(limit),
        },
        read=_read_arxiv,
    )


def _read_arxiv(body: bytes) -> list[Json]:
    atom = "{http://www.w3.org/2005/Atom}"
    if b"<!ENTITY" in body:
        raise ValueError("the feed defines entities")
    works = []
    for item in ET.fromstring(body).iter(f"{atom}entry"):
        address = item.findtext(f"{atom}id") or ""
        works.append(
            _work(
                title=item.findtext(f"{atom}title"),
                authors=[a.findtext(f"{atom}name") for a in item.iter(f"{atom}author")],
                year=(item.findtext(f"{atom}published") or "")[:4],
                venue=f"arXiv preprint {address.rsplit('/', 1)[-1]}" if address else "arXiv",
                doi=None,
                url=address,
                abstract=item.findtext(f"{atom}summary"),
            )
        )
    return works


def _work(
    *, title: Any, authors: list[Any], year: Any, venue: Any, doi: Any, url: Any, abstract: Any
) -> Json:
    return {
        "title": " ".join(str(title or "").split()),
        "authors": [" ".join(str(name).split()) for name in authors if name][:30],
        "year": str(year or ""),
        "venue": " ".join(str(venue or "").split()),
        "doi": str(doi or ""),
        "url": str(url or ""),
        "abstract": " ".join(str(abstract or "").split())[:1500],
    }
