"""The token: without it nothing is answered, with it a cookie is, and wrong ones are slow and few."""

import http.client
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from dash import Dash
from flask.testing import FlaskClient
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from ablate.dashboard import check_access, is_loopback
from ablate.errors import InputError
from dashboards.access import COOKIE_SECONDS, REMEMBERED_SECONDS, TRIES, TRIES_SECONDS, Access
from dashboards.app import make_app, start_line
from dashboards.security import is_known, server_names

TOKEN = "a token of 24 characters"  # noqa: S105
CLOSED = [
    "/_dash-layout",
    "/_dash-dependencies",
    "/assets/style.css",
    "/assets/browser.js",
    "/_favicon.ico",
    "/_dash-component-suites/dash/x.js",
]
PAGES = ["/", "/study/mix", "/axis/mix/mix", "/nothing"]


class Gate(Access):
    """A wrong token's answer waits until the test lets it go."""

    def __init__(self, token: str) -> None:
        super().__init__(token)
        self.waits, self.go = threading.Event(), threading.Event()

    def end_try(self, address: str, *, right: bool) -> None:
        if not right:
            self.waits.set()
            assert self.go.wait(60)


@pytest.fixture(scope="module")
def app_with_token(store_url: str) -> Dash:
    return make_app(store_url, access=Access(TOKEN, wrong_seconds=0))


@pytest.fixture
def guarded(app_with_token: Dash) -> FlaskClient:
    return app_with_token.server.test_client()


@contextmanager
def listening(app: Dash) -> Iterator[http.client.HTTPConnection]:
    """A connection to a real server on a port that the system gave; it sends paths exactly as they are written."""
    server = make_server("127.0.0.1", 0, app.server, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        yield connection
    finally:
        connection.close()
        server.shutdown()
        thread.join()
        server.server_close()


def cookie_of(answer: TestResponse) -> dict[str, str]:
    """Name and value under "", then the flags."""
    first, *flags = answer.headers["Set-Cookie"].split("; ")
    return {"": first} | dict(flag.partition("=")[::2] for flag in flags)


def from_address(address: str) -> dict[str, str]:
    return {"REMOTE_ADDR": address}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    check_access(host, port=8050, token=None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.3", "gpu3.lab", "", "127.0.0.1.evil.test"])  # noqa: S104
def test_any_other_host_needs_one_and_is_told_how(host: str) -> None:
    with pytest.raises(InputError, match=r"ABLATE_DASHBOARD_TOKEN.*--token auto.*ssh -L"):
        check_access(host, port=8050, token=None)
    check_access(host, port=8050, token=TOKEN)
    check_access(host, port=8050, token="auto")  # noqa: S106


@pytest.mark.parametrize("token", ["", "short", "fifteen letters"])
def test_short_token_is_refused_without_being_repeated(token: str) -> None:
    with pytest.raises(InputError, match="at least 16") as error:
        check_access("127.0.0.1", port=8050, token=token)
    assert not token or token not in str(error.value)


def test_start_line_holds_a_token_only_if_it_was_made() -> None:
    assert "token=secret" in start_line("127.0.0.1", 8050, token="secret", made=True)  # noqa: S106
    assert "secret" not in start_line("127.0.0.1", 8050, token="secret", made=False)  # noqa: S106
    assert start_line("::1", 8050, token=None, made=False) == "ablate dashboard: http://[::1]:8050/ (Ctrl-C ends it)"


@pytest.mark.parametrize("path", PAGES)
def test_page_without_cookie_is_a_form_and_nothing_of_the_store(guarded: FlaskClient, path: str) -> None:
    answer = guarded.get(path)
    text = answer.get_data(as_text=True)
    assert answer.status_code == 401
    assert '<form method="post">' in text
    assert "<script" not in text
    assert "form-action 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", CLOSED)
def test_all_else_without_cookie_is_refused(guarded: FlaskClient, path: str) -> None:
    assert guarded.get(path).status_code == 403
    assert guarded.post("/_dash-update-component", json={}).status_code == 403
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
        assert guarded.open(path, method=method).status_code == 403


def test_token_in_the_address_becomes_a_cookie_and_leaves_it(guarded: FlaskClient) -> None:
    answer = guarded.get("/study/mix", query_string={"token": TOKEN, "metric": "score/4"})
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/study/mix?metric=score%2F4"
    cookie = cookie_of(answer)
    assert TOKEN not in cookie[""]
    assert cookie["Path"] == "/"
    assert cookie["SameSite"] == "Strict"
    assert cookie["Max-Age"] == str(COOKIE_SECONDS + REMEMBERED_SECONDS)
    assert "HttpOnly" in cookie
    assert "Secure" not in cookie
    assert "Domain" not in cookie
    for path in ("/study/mix", "/_dash-layout", "/assets/style.css"):
        with guarded.get(path) as page:
            assert page.status_code == 200


def test_token_in_the_form_does_the_same(guarded: FlaskClient) -> None:
    answer = guarded.post("/study/mix", data={"token": TOKEN}, headers={"Origin": "http://localhost"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/study/mix")
    assert guarded.get("/study/mix").status_code == 200


def test_form_of_another_site_is_refused(guarded: FlaskClient) -> None:
    for origin in ("http://evil.test", "null"):
        assert guarded.post("/", data={"token": TOKEN}, headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize("path", ["//evil.test/", "///evil.test", "/\\evil.test", "/%5Cevil.test", "/%0d%0aSet-Cookie:x=1"])
def test_way_back_stays_on_this_server(app_with_token: Dash, path: str) -> None:
    with listening(app_with_token) as connection:
        connection.request("GET", f"{path}?token={TOKEN.replace(' ', '+')}")
        answer = connection.getresponse()
        assert answer.status == 303
        where = answer.getheader("Location") or ""
    assert where.startswith("/")
    assert not where.startswith(("//", "/\\"))
    assert urlsplit(where).netloc == ""
    assert "\r" not in where
    assert "Set-Cookie:x" not in [name for name, _ in answer.getheaders()]


def test_cookie_over_https_is_secure_and_a_proxy_is_not_believed(guarded: FlaskClient) -> None:
    query = {"token": TOKEN}
    assert "Secure" in cookie_of(guarded.get("/", query_string=query, base_url="https://localhost"))
    assert "Secure" not in cookie_of(guarded.get("/", query_string=query, headers={"X-Forwarded-Proto": "https"}))


def test_cookie_outlives_a_restart_with_the_same_token_and_no_other() -> None:
    cookie = Access(TOKEN).make_cookie(now=1000.0)
    assert Access(TOKEN).is_cookie(cookie, now=1000.0)
    assert not Access(TOKEN + "!").is_cookie(cookie, now=1000.0)
    assert Access(TOKEN).cookie_name != Access(TOKEN + "!").cookie_name


def test_cookie_ends_and_its_end_cannot_be_moved() -> None:
    access = Access(TOKEN)
    cookie = access.make_cookie(now=1000.0)
    assert access.is_cookie(cookie, now=999.0 + COOKIE_SECONDS)
    assert not access.is_cookie(cookie, now=1001.0 + COOKIE_SECONDS)
    end, _, digest = cookie.partition(".")
    for forged in (f"{int(end) + 1}.{digest}", end, f"{end}.", f".{digest}", "", TOKEN, f"{end}.{digest[:-1]}", "é.ü", "name."):
        assert not access.is_cookie(forged, now=1000.0)


@pytest.mark.parametrize(("last", "shown"), list(enumerate(["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ü" * 24])))
def test_wrong_token_is_refused_and_logged_without_it(
    app_with_token: Dash, last: int, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = app_with_token.server.test_client()
    with caplog.at_level(logging.DEBUG):
        answer = client.get("/", query_string={"token": shown}, environ_overrides=from_address(f"10.0.0.{last}"))
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    assert [record.getMessage() for record in caplog.records] == [f"a wrong token from 10.0.0.{last}"]
    assert client.get("/").status_code == 401


def test_many_wrong_tokens_shut_an_address_out_and_no_other(store_url: str, app_with_token: Dash) -> None:
    client = app_with_token.server.test_client()
    tries = [client.get("/?token=wrong", environ_overrides=from_address("10.1.0.1")).status_code for _ in range(TRIES + 1)]
    assert tries == [401] * TRIES + [429]
    right = {"token": TOKEN}
    shut = client.get("/", query_string=right, environ_overrides=from_address("10.1.0.1"))
    assert (shut.status_code, shut.headers["Retry-After"]) == (429, "600")
    assert client.get("/", query_string=right, environ_overrides=from_address("10.1.0.2")).status_code == 303
    assert client.get("/", environ_overrides=from_address("10.1.0.1")).status_code == 200  # who has the cookie is let in as before


def test_shut_address_may_try_again_later_and_a_right_token_forgives() -> None:
    access = Access(TOKEN, wrong_seconds=0)
    assert [access.begin_try("a", now=0.0) for _ in range(TRIES + 1)] == [True] * TRIES + [False]
    assert access.begin_try("a", now=TRIES_SECONDS)
    access.end_try("a", right=True)
    assert [access.begin_try("a", now=TRIES_SECONDS) for _ in range(TRIES + 1)] == [True] * TRIES + [False]


def test_wrong_token_keeps_nobody_else_waiting(store_url: str) -> None:
    gate = Gate(TOKEN)
    with listening(make_app(store_url, access=gate)) as connection:
        statuses: list[int] = []

        def try_wrong() -> None:
            other = http.client.HTTPConnection(connection.host, connection.port, timeout=60)
            other.request("GET", "/?token=wrong")
            statuses.append(other.getresponse().status)
            other.close()

        slow = threading.Thread(target=try_wrong)
        slow.start()
        assert gate.waits.wait(60)
        connection.request("GET", "/", headers={"Cookie": f"{gate.cookie_name}={gate.make_cookie(now=2e9)}"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        assert statuses == []
        gate.go.set()
        slow.join()
        assert statuses == [401]


def test_without_token_a_query_of_that_name_means_nothing(client: FlaskClient) -> None:
    assert client.get("/?token=anything").status_code == 200


def test_reachable_server_goes_by_its_addresses_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "GPU3")
    monkeypatch.setattr("socket.getfqdn", lambda: "gpu3.lab.test")
    names = server_names("0.0.0.0")  # noqa: S104
    for host in ("gpu3", "gpu3:8050", "gpu3.lab.test:8050", "gpu3.local", "10.0.0.3:8050", "[fe80::1]:8050", "localhost:1"):
        assert is_known(host, names=names, addresses=True)
    for host in ("evil.test", "gpu3.evil.test", "10.0.0.3.evil.test", "[", "", "10.0.0.3@evil.test"):
        assert not is_known(host, names=names, addresses=True)
    assert not is_known("10.0.0.3", names=server_names("127.0.0.1"), addresses=False)


TRAVERSALS = [
    f"{prefix}{up}"
    for prefix in ("/assets/", "/_dash-component-suites/dash/", "/_dash-component-suites/dash_ag_grid/", "/study/", "/")
    for up in (
        "../app.py",
        "..%2fapp.py",
        "%2e%2e/app.py",
        "..%5capp.py",
        "../../../../../../etc/passwd",
        "..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/etc/passwd",
    )
] + [
    "/_dash-component-suites/os/os.py",
    "/_dash-component-suites/ablate/errors.py",
    "/_dash-component-suites/dash/dash.py",
    "/static/app.py",
]


def test_no_file_but_the_pages_own_is_served(app: Dash, store_url: str) -> None:
    database = Path(store_url.removeprefix("sqlite:///"))
    secrets = (b"root:", b"def make_app", b"class AblateError", b"SQLite format 3")
    with listening(app) as connection:
        for path in [*TRAVERSALS, f"/assets/{database}", f"/assets/..%2f..%2f{database}"]:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status in (400, 404) or b"/assets/browser.js" in body, path  # or the page that says there is no such study
            assert not [secret for secret in secrets if secret in body], path


def test_pages_are_kept_by_no_cache_and_files_of_the_program_may(client: FlaskClient) -> None:
    for path in ("/", "/study/mix", "/_dash-layout", "/_dash-dependencies"):
        assert client.get(path).headers["Cache-Control"] == "no-store"
    with client.get("/assets/style.css") as answer:
        assert answer.headers["Cache-Control"] != "no-store"
    assert "camera=()" in client.get("/").headers["Permissions-Policy"]
