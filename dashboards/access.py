"""Who may look: whoever shows the token once, and then for a working week whoever has the cookie that is derived from it.

The cookie is no token: an end and a keyed digest of it, so that it proves the token without holding it, and outlives a restart with the
same one. Without the cookie nothing is answered, the app's own scripts included.
"""

import hashlib
import hmac
import logging
import threading
import time
from collections import OrderedDict, deque
from urllib.parse import quote, urlencode

from flask import Flask, Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

COOKIE_SECONDS = 5 * 24 * 3600
REMEMBERED_SECONDS = 30 * 24 * 3600
"""How long a browser keeps the cookie after its end, so that the form can say that it ended."""
WRONG_SECONDS = 1.0
"""How long the answer to a wrong token takes; each request has a thread of its own, so no other waits."""
TRIES = 10
TRIES_SECONDS = 600.0
"""As many wrong tokens an address may show in this time."""
ADDRESSES = 1000
"""Addresses whose tries are remembered, the last to try first."""

logger = logging.getLogger(__name__)


class Access:
    """The token's keeper; any number of threads may ask."""

    def __init__(self, token: str, *, wrong_seconds: float = WRONG_SECONDS) -> None:
        self._key = _bytes(token)
        self._wrong_seconds = wrong_seconds
        self._lock = threading.Lock()
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        # browsers send a host's cookies to all its ports: two dashboards with two tokens must not take each other's place
        self.cookie_name = f"ablate_{self._digest('name')[:8]}"

    def is_token(self, text: str) -> bool:
        return hmac.compare_digest(hashlib.sha256(_bytes(text)).digest(), hashlib.sha256(self._key).digest())

    def make_cookie(self, *, now: float) -> str:
        end = str(int(now) + COOKIE_SECONDS)
        return f"{end}.{self._digest(f'until {end}')}"

    def is_cookie(self, text: str, *, now: float) -> bool:
        end, _, digest = text.partition(".")
        genuine = hmac.compare_digest(_bytes(digest), _bytes(self._digest(f"until {end}")))
        return genuine and int(end) > now  # a genuine end is a number: we wrote it

    def begin_try(self, address: str, *, now: float) -> bool:
        """Whether this address may try a token now. Counts it as wrong until `end_try`, so that tries side by side count too."""
        with self._lock:
            tries = self._wrong.setdefault(address, deque())
            self._wrong.move_to_end(address)
            while len(self._wrong) > ADDRESSES:
                self._wrong.popitem(last=False)
            while tries and tries[0] <= now - TRIES_SECONDS:
                tries.popleft()
            if len(tries) >= TRIES:
                return False
            tries.append(now)
            return True

    def end_try(self, address: str, *, right: bool) -> None:
        if right:
            with self._lock:
                self._wrong.pop(address, None)
        else:
            time.sleep(self._wrong_seconds)

    def _digest(self, text: str) -> str:
        return hmac.new(self._key, _bytes(f"ablate dashboard {text}"), hashlib.sha256).hexdigest()


def ask_for_token(server: Flask, access: Access) -> None:
    """Lets no request through without the cookie; the token in a query or in the form brings one."""

    @server.before_request
    def _ask() -> AnyResponse | None:
        shown = request.args.get("token") if request.method == "GET" else request.form.get("token")
        if shown is not None:
            return _try(access, shown)
        cookie = request.cookies.get(access.cookie_name, "")
        if access.is_cookie(cookie, now=time.time()):
            return None
        if request.method in ("GET", "HEAD") and not request.path.startswith(("/_", "/assets/")):
            ended = access.is_cookie(cookie, now=0)
            return _form(ENDED if ended else "These pages ask for a token.", status=401)
        return Response("no token was shown; open the pages in a browser\n", 403, mimetype="text/plain")


def _try(access: Access, shown: str) -> AnyResponse:
    address = request.remote_addr or ""
    if not access.begin_try(address, now=time.monotonic()):
        minutes = round(TRIES_SECONDS / 60)
        response = _form(f"Too many wrong tokens from your address. Try again in {minutes} minutes.", status=429)
        response.headers["Retry-After"] = str(round(TRIES_SECONDS))
        return response
    right = access.is_token(shown)
    if not right:
        logger.warning("a wrong token from %s", address)
    access.end_try(address, right=right)
    if not right:
        return _form("That is not the token.", status=401)
    answer = redirect(_address_without_token(), 303)
    answer.set_cookie(
        access.cookie_name,
        access.make_cookie(now=time.time()),
        max_age=COOKIE_SECONDS + REMEMBERED_SECONDS,
        path="/",
        secure=request.is_secure,
        httponly=True,
        samesite="Strict",
    )
    return answer


def _address_without_token() -> str:
    """Of the same page; one slash in front, because two would name another host."""
    left = [(key, value) for key, value in request.args.items(multi=True) if key != "token"]
    return "/" + quote(request.path.lstrip("/")) + (f"?{urlencode(left)}" if left else "")


def _form(said: str, *, status: int) -> Response:
    """A page of its own that needs no other file. Nothing of a request is in it."""
    response = Response(FORM.replace("SAID", said), status, mimetype="text/html")
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    response.headers["Referrer-Policy"] = "same-origin"  # without any, a browser sends the form with the origin null
    return response


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


ENDED = f"Your access ended after {COOKIE_SECONDS // 86400} days. Give the token again; you come back to this page."

FORM = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>ablate</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
  form { max-width: 24rem; margin: 20vh auto; padding: 0 1rem; }
  input { box-sizing: border-box; width: 100%; margin: 0.3rem 0 0.8rem; padding: 0.4rem; font: inherit; }
  button { padding: 0.3rem 1rem; font: inherit; }
</style>
</head>
<body>
<form method="post">
  <h1>ablate</h1>
  <p role="status">SAID</p>
  <label for="token">Token</label>
  <input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
  <button>Open</button>
</form>
</body>
</html>
"""
