"""What every request and answer of the pages goes through: known hosts, own origin, small bodies, strict headers.

Everything that arrives is untrusted. Page scripts come from this server only; styles may be inline because plotly and the
grid insert style elements of their own, and no style runs code.
"""

import ipaddress
import logging
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from dash.exceptions import DependencyException
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, NotFound

from ablate.dashboard import is_loopback
from dashboards.access import Access, ask_for_token

MAX_REQUEST_BYTES = 1_000_000
FIXED = ("/assets/", "/_dash-component-suites/", "/_favicon.ico")
"""Files of the program, the same for everybody; all else shows data and is kept nowhere."""

logger = logging.getLogger(__name__)


def protect(server: Flask, *, script_hashes: Sequence[str], host: str = "127.0.0.1", access: Access | None = None) -> None:
    """Adds the checks and headers to a Dash app's server; `host` is where it listens, and `access` asks for a token."""
    server.config.update(MAX_CONTENT_LENGTH=MAX_REQUEST_BYTES)
    policy = content_policy(script_hashes)
    names = server_names(host)

    @server.before_request
    def _known_host() -> Response | None:
        """Another name is how a foreign page would make a browser take it for this server."""
        if is_known(request.host, names=names, addresses=not is_loopback(host)):
            return None
        return Response("this server has another name; open it by its address\n", 400, mimetype="text/plain")

    @server.before_request
    def _same_origin() -> Response | None:
        origin = request.headers.get("Origin")
        if request.method not in ("GET", "HEAD", "OPTIONS") and origin and urlsplit(origin).netloc != request.host:
            return Response("another site's request\n", 403, mimetype="text/plain")
        return None

    if access is not None:
        ask_for_token(server, access)

    @server.after_request
    def _headers(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
        if not request.path.startswith(FIXED) or response.status_code >= 400:
            response.headers["Cache-Control"] = "no-store"
        return response

    @server.errorhandler(Exception)
    def _no_traceback(error: Exception) -> HTTPException | tuple[str, int]:
        """Dash answers the errors of callbacks itself; what comes here is a body that Dash cannot read."""
        if isinstance(error, HTTPException):
            return error
        if isinstance(error, DependencyException):  # a path beside those of the packages' scripts
            return NotFound()
        if request.path.endswith("/_dash-update-component"):
            logger.debug("unreadable callback request", exc_info=error)
            return "not a request of these pages\n", 400
        logger.error("failed to answer %s", request.path, exc_info=error)
        return "the dashboard failed to answer; its terminal says why\n", 500


def server_names(host: str) -> frozenset[str]:
    """What a server that listens there may be called."""
    names = {"localhost", "127.0.0.1", "::1", host}
    if not is_loopback(host):
        own = socket.gethostname()
        short = own.partition(".")[0]
        names |= {own, short, f"{short}.local", socket.getfqdn()}
    return frozenset(name.lower() for name in names)


def is_known(host: str, *, names: frozenset[str], addresses: bool) -> bool:
    """Whether a request's host is this server. Where other machines reach it, any address is: who translates it on the way is unknown
    here, and the trick of giving a name another address needs a name."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return addresses


def content_policy(script_hashes: Sequence[str]) -> str:
    rules = {
        "default-src": ["'none'"],
        "script-src": ["'self'", *script_hashes],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in rules.items())
