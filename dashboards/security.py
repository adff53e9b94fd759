"""What every request and answer of the pages goes through: known hosts, own origin, small bodies, strict headers.

Everything that arrives is untrusted. Page scripts come from this server only; styles may be inline because plotly and the
grid insert style elements of their own, and no style runs code.
"""

import logging
from collections.abc import Sequence
from urllib.parse import urlsplit

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

LOOPBACK = ("127.0.0.1", "localhost")
MAX_REQUEST_BYTES = 1_000_000

logger = logging.getLogger(__name__)


def protect(server: Flask, *, script_hashes: Sequence[str]) -> None:
    """Adds the checks and headers to a Dash app's server."""
    server.config.update(TRUSTED_HOSTS=list(LOOPBACK), MAX_CONTENT_LENGTH=MAX_REQUEST_BYTES)
    policy = content_policy(script_hashes)

    @server.before_request
    def _same_origin() -> tuple[str, int] | None:
        origin = request.headers.get("Origin")
        if request.method not in ("GET", "HEAD", "OPTIONS") and origin and urlsplit(origin).netloc != request.host:
            return "another site's request\n", 403
        return None

    @server.after_request
    def _headers(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response

    @server.errorhandler(Exception)
    def _no_traceback(error: Exception) -> HTTPException | tuple[str, int]:
        """Dash answers the errors of callbacks itself; what comes here is a body that Dash cannot read."""
        if isinstance(error, HTTPException):
            return error
        if request.path.endswith("/_dash-update-component"):
            logger.debug("unreadable callback request", exc_info=error)
            return "not a request of these pages\n", 400
        logger.error("failed to answer %s", request.path, exc_info=error)
        return "the dashboard failed to answer; its terminal says why\n", 500


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
