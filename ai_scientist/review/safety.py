"""Who may ask, and what an answer may do in a browser.

Covered: other sites' pages (Host, Origin, CSRF token, SameSite cookies), other users of the network
(a token), text written by a model that tries to run (strict CSP beside the cleaning in prose.py).
Not covered: other users of this machine on loopback without a token; set one on a shared host.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import Request, Response

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SESSION_COOKIE = "ai_scientist_session"
TOKEN_COOKIE = "ai_scientist_token"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # Stricter ones make a browser send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Guard:
    """The rules of one server."""

    hosts: frozenset[str]
    """Names under which it may be asked: a page elsewhere cannot rebind its name to us."""
    token: str = ""
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def csrf(self, session: str) -> str:
        """Return the token that a form of this session must bring back."""
        return hmac.new(self.key, session.encode(), hashlib.sha256).hexdigest()

    def host_allowed(self, header: str) -> bool:
        """Tell whether the Host header names us."""
        try:
            name = (urlsplit(f"//{header}").hostname or "").lower()
        except ValueError:
            return False
        return bool(self.token) or name in self.hosts

    def known(self, request: Request) -> bool:
        """Tell whether the request brings the token, where one is needed."""
        if not self.token:
            return True
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        offered = request.cookies.get(TOKEN_COOKIE) or bearer
        return same(offered, self.token)

    def form_allowed(self, request: Request, offered: str) -> bool:
        """Tell whether a form was filled in on one of our own pages."""
        session = request.cookies.get(SESSION_COOKIE, "")
        origin = request.headers.get("origin")
        ours = origin in (None, f"{request.url.scheme}://{request.headers.get('host', '')}")
        return bool(session) and ours and same(offered, self.csrf(session))


def same(one: str, other: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def install(
    guard: Guard,
) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    """Return the middleware that keeps the rules for every answer, errors included."""
    from fastapi.responses import PlainTextResponse, RedirectResponse

    async def middleware(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response: Response
        offered = request.query_params.get("token", "")
        if not guard.host_allowed(request.headers.get("host", "")):
            response = PlainTextResponse("this server does not go by that name\n", 421)
        elif guard.token and offered and same(offered, guard.token):
            response = RedirectResponse(request.url.path, 303)
            response.set_cookie(TOKEN_COOKIE, guard.token, httponly=True, samesite="strict")
        elif not guard.known(request):
            response = PlainTextResponse(
                "a token is needed: open the address that `ai_scientist review` printed\n", 401
            )
        else:
            session = request.cookies.get(SESSION_COOKIE) or secrets.token_urlsafe(24)
            request.state.session = session
            response = await call_next(request)
            if SESSION_COOKIE not in request.cookies:
                response.set_cookie(SESSION_COOKIE, session, httponly=True, samesite="strict")
        response.headers.setdefault("Content-Security-Policy", PAGE_POLICY)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return middleware
