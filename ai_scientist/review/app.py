"""The served review: addresses in, pages out. Reading changes nothing; deciding adds a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Form, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from ai_scientist.errors import InputError, ScientistError
from ai_scientist.review.decisions import about_step, login_name, write_decision
from ai_scientist.review.evidence import commit_page, evidence_page
from ai_scientist.review.files import RAW, Shelf, open_shelf, read_text, read_window
from ai_scientist.review.latents import read_latents
from ai_scientist.review.links import ServedLinks, queried
from ai_scientist.review.overview import matches, sort_summaries
from ai_scientist.review.pages import (
    compare_page,
    idea_page,
    many_page,
    pick_run,
    run_page,
    science_page,
)
from ai_scientist.review.render import STATIC, page
from ai_scientist.review.safety import FILE_POLICY, Guard, install
from ai_scientist.review.statements import claims_page
from ai_scientist.review.story import Stories, Story, list_files, read_call
from ai_scientist.review.summaries import Summaries

ROWS_PER_PAGE = 100
MANY_IDEAS = 24
LIVE = ("running", "waiting", "queued")


class Review:
    """What all requests share: the shelf, what was read from it, and the rules."""

    def __init__(self, shelf: Shelf, guard: Guard) -> None:
        self.shelf = shelf
        self.guard = guard
        self.summaries = Summaries(shelf)
        self.stories = Stories(shelf, self.summaries)

    def page(
        self, request: Request, name: str, *, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """Return a page with what every page needs."""
        shared = {
            "csrf": self.guard.csrf(request.state.session),
            "user": login_name(),
            "ask": dict(request.query_params),
            "here": request.url.path,
            "root": str(self.shelf.root),
            "exported": False,
        }
        return HTMLResponse(page(name, **(shared | values)), status)

    def story(self, name: str) -> tuple[Story, ServedLinks]:
        """Return an idea's story and its addresses."""
        story = self.stories.one(name)
        return story, ServedLinks(name)


def create_app(runs_dir: Path, guard: Guard) -> FastAPI:
    """Return the application over a folder of run folders, or over a single one."""
    review = Review(open_shelf(runs_dir), guard)
    app = FastAPI(title="ai_scientist review", docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(install(guard))
    app.mount("/static", StaticFiles(directory=STATIC))
    add_list(app, review)
    add_overviews(app, review)
    add_idea(app, review)
    add_run(app, review)
    add_files(app, review)
    add_decisions(app, review)

    @app.exception_handler(ScientistError)
    async def explain(request: Request, error: ScientistError) -> Response:
        status = 404 if isinstance(error, InputError) else 500
        return review.page(
            request, "error.html", status=status, message=error.message, hint=error.hint
        )

    @app.exception_handler(404)
    @app.exception_handler(RequestValidationError)
    async def nothing(request: Request, error: Exception) -> Response:
        words = {"message": "there is no such page", "hint": "start from the list of ideas"}
        return review.page(request, "error.html", status=404, **words)

    return app


def add_list(app: FastAPI, review: Review) -> None:
    """Add the list of ideas."""

    @app.get("/")
    def ideas(
        request: Request,
        *,
        q: str = "",
        state: str = "",
        verdict: str = "",
        sort: str = "age",
        down: int = 0,
        at: int = 1,
    ) -> Response:
        rows = review.summaries.all()
        found = [row for row in rows if matches(row, q, state, verdict)]
        found = sort_summaries(found, sort, bool(down))
        at = max(1, min(at, 1 + (len(found) - 1) // ROWS_PER_PAGE))
        shown = found[(at - 1) * ROWS_PER_PAGE : at * ROWS_PER_PAGE]
        return review.page(
            request,
            "ideas.html",
            rows=shown,
            found=len(found),
            total=len(rows),
            pages=max(1, -(-len(found) // ROWS_PER_PAGE)),
            at=at,
            live=any(row.state in LIVE for row in rows),
            states=sorted({row.state for row in rows}),
            verdicts=sorted({word for row in rows for word in row.verdicts}),
            query={"q": q, "state": state, "verdict": verdict, "sort": sort, "down": down},
        )


def add_overviews(app: FastAPI, review: Review) -> None:
    """Add the page of many runs, and the comparison of two."""

    @app.get("/many")
    def many(request: Request, q: str = "", metric: str = "") -> Response:
        rows = [row for row in review.summaries.all() if row.name and matches(row, q, "", "")]
        stories = review.stories.several(row.name for row in rows[:MANY_IDEAS])
        values = many_page(stories, rows, metric)
        shared: dict[str, Any] = {
            "found": len(rows),
            "shown": len(stories),
            "q": q,
            "metric": metric,
        }
        return review.page(request, "many.html", **shared, **values)

    @app.get("/compare")
    def compare(request: Request, a: str = "", b: str = "") -> Response:
        names = review.shelf.names()[:500]
        if not (a and b):
            return review.page(request, "compare.html", names=names, pair=None)
        sides = []
        for side in (a, b):
            name, _, run = side.partition("/")
            story = review.stories.one(name)
            sides.append((story, pick_run(story, run)))
        return review.page(
            request, "compare.html", names=names, pair=compare_page(sides[0], sides[1])
        )


def add_idea(app: FastAPI, review: Review) -> None:
    """Add the pages of one idea: story, claims, science, calls."""

    @app.get("/idea/{name}")
    def idea(request: Request, name: str) -> Response:
        story, links = review.story(name)
        return review.page(request, "idea.html", tab="story", **idea_page(story, links))

    @app.get("/idea/{name}/claims")
    def claims(request: Request, name: str) -> Response:
        story, links = review.story(name)
        return review.page(request, "claims.html", tab="claims", **claims_page(story, links))

    @app.get("/idea/{name}/science")
    def science(request: Request, name: str) -> Response:
        story, links = review.story(name)
        return review.page(request, "science.html", tab="science", **science_page(story, links))

    @app.get("/idea/{name}/calls")
    def calls(request: Request, name: str) -> Response:
        story, links = review.story(name)
        return review.page(request, "calls.html", tab="calls", story=story, links=links)

    @app.get("/idea/{name}/call/{number}")
    def call(request: Request, name: str, number: int) -> Response:
        story, links = review.story(name)
        if not 1 <= number <= len(story.calls):
            raise InputError(
                f"there is no model call {number}", hint="open it from the list of calls"
            )
        one = story.calls[number - 1]
        messages, reply = read_call(story.folder, one)
        values: dict[str, Any] = {
            "story": story,
            "links": links,
            "call": one,
            "messages": messages,
            "reply": reply,
        }
        return review.page(request, "call.html", tab="calls", **values)


def add_run(app: FastAPI, review: Review) -> None:
    """Add the pages of runs and attempts, and of the evidence for one number."""

    @app.get("/idea/{name}/run/{run}")
    def run_of(request: Request, name: str, run: str) -> Response:
        story, links = review.story(name)
        return review.page(request, "run.html", tab="story", **run_page(story, run, links))

    @app.get("/idea/{name}/attempt/{step:path}")
    def attempt(request: Request, name: str, step: str) -> Response:
        story, links = review.story(name)
        found = next((one for one in story.study.attempts if one.step == step), None)
        if found is None:
            raise InputError(
                f"there is no attempt `{step[:80]}`", hint="open it from the idea's page"
            )
        values: dict[str, Any] = {"story": story, "links": links, "attempt": found}
        return review.page(request, "attempt.html", tab="story", **values)

    @app.get("/idea/{name}/evidence")
    def evidence(request: Request, name: str, run: str, metric: str, text: str = "") -> Response:
        story, links = review.story(name)
        values = evidence_page(story, links, run, metric, text)
        return review.page(request, "evidence.html", tab="claims", **values)

    @app.get("/idea/{name}/latents/{run}")
    def latents(request: Request, name: str, run: str) -> Response:
        story, links = review.story(name)
        report = read_latents(story.folder, run) if run in story.study.runs else None
        if report is None:
            raise InputError(f"{run[:60]} left no latent report", hint="open the science page")
        values: dict[str, Any] = {"story": story, "links": links, "run": run, "report": report}
        return review.page(request, "latents.html", tab="science", **values)

    @app.get("/idea/{name}/commit/{commit}")
    def commit_of(request: Request, name: str, commit: str) -> Response:
        story, links = review.story(name)
        values = commit_page(story, links, commit)
        return review.page(request, "commit.html", tab="files", **values)


def add_files(app: FastAPI, review: Review) -> None:
    """Add the folder's files: as text with search, and pictures and PDFs as they are."""

    @app.get("/idea/{name}/files")
    def files(request: Request, name: str) -> Response:
        story, links = review.story(name)
        listed = list_files(story.folder)
        return review.page(
            request, "files.html", tab="files", story=story, links=links, files=listed
        )

    @app.get("/idea/{name}/file/{path:path}")
    def file(
        request: Request, name: str, path: str, q: str = "", line: int | None = None
    ) -> Response:
        story, links = review.story(name)
        window = read_window(review.shelf.file(story.folder, path), around=line, query=q)
        values: dict[str, Any] = {
            "story": story,
            "links": links,
            "path": path,
            "window": window,
            "q": q,
            "line": line,
        }
        return review.page(request, "file.html", tab="files", **values)

    @app.get("/idea/{name}/raw/{path:path}")
    def raw(name: str, path: str) -> Response:
        found = review.shelf.file(review.shelf.folder(name), path)
        kind = RAW.get(found.suffix.lower())
        if kind is None:
            raise InputError(f"`{path[:80]}` is shown as text only", hint="open it from the files")
        # A sandboxed PDF would not open in the browser's own viewer; it runs no script of ours.
        policy = "default-src 'none'" if kind == "application/pdf" else FILE_POLICY
        return FileResponse(found, media_type=kind, headers={"Content-Security-Policy": policy})

    @app.get("/idea/{name}/notes.txt")
    def notes(name: str) -> Response:
        folder = review.shelf.folder(name)
        text = read_text(review.shelf.file(folder, "notes.txt"))
        return Response(text, media_type="text/plain; charset=utf-8")


def add_decisions(app: FastAPI, review: Review) -> None:
    """Add the one address that writes: a decision into the inbox."""

    @app.post("/idea/{name}/decide")
    def decide(
        request: Request,
        name: str,
        *,
        csrf: str = Form(""),
        decision: str = Form(""),
        about: str = Form(""),
        step: str = Form(""),
        target: str = Form(""),
        comment: str = Form(""),
        user: str = Form(""),
        back: str = Form(""),
    ) -> Response:
        if not review.guard.form_allowed(request, csrf):
            return review.page(
                request,
                "error.html",
                status=403,
                message="this form was not filled in on a page of this server",
                hint="reload the page and send it again",
            )
        try:
            path = write_decision(
                review.shelf.folder(name),
                decision=decision,
                about=about or about_step(step),
                step=step,
                target=target,
                comment=comment,
                user=user,
            )
        except InputError as error:
            return review.page(
                request, "error.html", status=400, message=error.message, hint=error.hint
            )
        base = ServedLinks(name).idea()
        place = back if back == base or back.startswith(f"{base}/") else base
        return RedirectResponse(f"{place.split('?')[0]}?{queried(said=path.name)}#decide", 303)
