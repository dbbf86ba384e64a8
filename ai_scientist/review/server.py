"""Where the review listens, and who is let in."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from pathlib import Path

from ai_scientist.errors import InputError, SetupError
from ai_scientist.review.safety import LOOPBACK, Guard


def run_server(runs_dir: Path, *, port: int, host: str, token: str | None) -> int:
    """Serve until interrupted. Raises SetupError when the address cannot be had."""
    import uvicorn

    from ai_scientist.review.app import create_app

    guard = guard_for(host, token)
    app = create_app(runs_dir, guard)
    warm_up()
    listener = listen(host, port)
    address = f"http://{shown_host(host)}:{listener.getsockname()[1]}/"
    secret = f"?token={guard.token}" if guard.token else ""
    print(f"review of {runs_dir}: {address}{secret}  (Ctrl-C ends it)", flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def warm_up() -> None:
    """Load what the first page would otherwise wait for: numbers, colors, templates."""
    from ai_scientist.audit import audit_study  # noqa: F401 (loaded for its own imports)
    from ai_scientist.judging.statistics import compare
    from ai_scientist.records import Results
    from ai_scientist.review.diffs import color_lines
    from ai_scientist.review.prose import render_prose
    from ai_scientist.review.render import environment

    low, high = (Results(metrics={"x": x}, seeds={"x": (x, x + 1)}) for x in (1.0, 2.5))
    compare(low, high, "x")
    color_lines("x = 1", "x.py")
    render_prose("x")
    for name in environment().list_templates():
        environment().get_template(name)


def guard_for(host: str, token: str | None) -> Guard:
    """Return the rules for an address: any but loopback gets a token, made here when none is given.

    Raises InputError for a token that is too short to keep anybody out.
    """
    if token is not None and len(token) < 16:
        raise InputError(
            "the token is shorter than 16 characters", hint="leave it out: one is made"
        )
    if not is_loopback(host) and token is None:
        token = secrets.token_urlsafe(24)
    return Guard(hosts=frozenset({*LOOPBACK, host.lower()}), token=token or "")


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises SetupError when the address is taken or not ours."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(found[4][:2], family=found[0])
    except (OSError, OverflowError) as error:
        raise SetupError(
            f"the review cannot listen on {host}:{port}: {error}",
            hint="choose another with --port, or 0 for any free one",
        ) from None


def shown_host(host: str) -> str:
    """Return the host as an address shows it."""
    return f"[{host}]" if ":" in host else host
