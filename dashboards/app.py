"""The pages as a program: `python -m dashboards.app --store URL`. They read the store, and of a run its attempts' logs and samples.

One callback finds the page of the address. From then on the browser looks for news each second (`live.py`), and only a new version reaches
the page's own callbacks, through the stores `seen` and `points`. While the store is away the page stays and says so.
"""

import argparse
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, set_props
from dash.development.base_component import Component
from flask import request
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from ablate.collector import collect_rarely
from ablate.dashboard import AUTO, TOKEN_VARIABLE, check_access
from ablate.errors import AblateError, EnvironmentMissing, InputError
from ablate.stores import open_store
from ablate.workspace import Workspace
from dashboards.access import Access
from dashboards.address import read_query
from dashboards.changes import Sent
from dashboards.live import LOOK_SECONDS, Looks, serve_looks, versions
from dashboards.pages import PAGES, find_page
from dashboards.parts import control
from dashboards.reader import Reader
from dashboards.security import protect
from dashboards.sharing import share_answers
from dashboards.widgets import aria, legend, message

TABS = (("Studies", "/"), ("Lessons", "/lessons"), ("Compare", "/compare"))
"""In the header of every page."""

SWITCH_SECONDS = 0.0005
"""After which a thread that computes lets others in; Python's 5 ms are waited for again at each of a look's reads from the store."""

logger = logging.getLogger(__name__)


def make_app(
    store_url: str,
    *,
    workspace: Path | None = None,
    host: str = "127.0.0.1",
    access: Access | None = None,
    allow_control: bool = False,
) -> Dash:
    """The app over one store, which need not exist yet; `host` is where it will listen, `workspace` the folder whose logs it shows."""
    reader, sent = Reader(store_url, workspace=Workspace(workspace.resolve()) if workspace else None), Sent()
    app = Dash(
        "dashboards",
        title="ablate",
        update_title="",
        serve_locally=True,
        compress=False,
        suppress_callback_exceptions=True,
        on_error=_show_error,
    )
    app.layout = _shell()
    _register(app, reader)
    for page in PAGES.values():
        page.register(app, reader=reader, sent=sent)
    if allow_control:
        control.register(app, reader=reader, store_url=store_url)
    protect(app.server, script_hashes=app.csp_hashes(), host=host, access=access)  # before what follows may answer
    serve_looks(app.server, Looks(partial(versions, find_page, reader)))
    share_answers(app.server, outputs=_shared(app))
    _answer_404(app, reader=reader)
    return app


def show(reader: Reader, *, path: object, search: object) -> tuple[Any, dict[str, Any], int]:
    """The page of an address, what its viewer has `seen` by that, and how many points of growing curves."""
    try:
        page, names = find_page(path if isinstance(path, str) else "/")
        seen = {"path": path, "version": page.version(reader, names=names), "shown": True}
        return page.layout(reader, names=names, query=read_query(search)), seen, page.points(reader, names=names)
    except InputError as error:
        return _nothing_here(str(error)), {"path": path, "version": str(error), "shown": False}, 0
    except EnvironmentMissing as error:
        return message(f"{error}\nThis page goes on looking.", kind="away"), {"path": path, "version": str(error), "shown": False}, 0


def _nothing_here(said: str) -> Component:
    return html.Div([message(said), html.P(dcc.Link("All studies", href="/"))], className="nothing")


def _register(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output("content", "children"),
        Output("seen", "data", allow_duplicate=True),
        Output("points", "data", allow_duplicate=True),
        Input("url", "pathname"),
        Input("again", "data"),
        State("url", "search"),
        prevent_initial_call="initial_duplicate",
    )
    def _show(path: object, _again: object, search: object) -> tuple[Any, dict[str, Any], int]:
        return show(reader, path=path, search=search)

    news = [Output("seen", "data"), Output("points", "data"), Output("again", "data"), Output("outage", "children")]
    looks = [
        Input("tick", "n_intervals"),
        State("url", "pathname"),
        State("seen", "data"),
        State("points", "data"),
        State("outage", "children"),
    ]
    app.clientside_callback(ClientsideFunction("ablate", "look"), *news, *looks, prevent_initial_call=True)
    page = [Input("seen", "data"), Input("points", "data"), Input("content", "children")]
    app.clientside_callback(ClientsideFunction("ablate", "sight"), *page)
    app.clientside_callback(ClientsideFunction("ablate", "forget"), Output("failure", "children"), Input("seen", "data"))
    app.clientside_callback(ClientsideFunction("ablate", "theme"), Output("dark", "data"), Input("theme", "value"))
    app.clientside_callback(ClientsideFunction("ablate", "title"), Input("url", "pathname"))


def _shared(app: Dash) -> set[str]:
    """Callbacks whose requests say which version they ask about."""
    versioned = {output: {each["id"] for each in callback["inputs"]} for output, callback in app.callback_map.items()}
    return {output for output, inputs in versioned.items() if any(one == "seen" or one.endswith("-seen") for one in inputs)}


def _shell() -> Component:
    """What stays while pages come and go."""
    themes = [{"label": name.capitalize(), "value": name} for name in ("auto", "light", "dark")]
    theme = dcc.RadioItems(id="theme", options=themes, value="auto", inline=True, persistence=True)
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Interval(id="tick", interval=int(LOOK_SECONDS * 1000)),
            dcc.Store(id="seen"),
            dcc.Store(id="points"),
            dcc.Store(id="again"),
            dcc.Store(id="dark"),
            html.A("Skip to the content", href="#content", className="skip"),
            html.Header(
                [
                    dcc.Link("ablate", href="/", className="brand"),
                    html.Nav([dcc.Link(label, href=path) for label, path in TABS], **aria(label="Main")),
                    legend(),
                    html.Div(theme, className="theme", role="group", **aria(label="Colours")),
                ]
            ),
            html.Div(id="outage", role="status", className="notice"),
            html.Div(id="failure", role="alert", className="notice"),
            html.Main(id="content", tabIndex=-1),
        ]
    )


def _show_error(error: Exception) -> None:
    """A callback that fails leaves its part of the page as it is and says why above it, until there is news or another page."""
    if isinstance(error, AblateError):
        set_props("failure", {"children": str(error)})
        return
    logger.error("a callback failed", exc_info=error)
    set_props("failure", {"children": "A part of this page failed; the dashboard's terminal says why."})


def _answer_404(app: Dash, *, reader: Reader) -> None:
    """Dash answers every path with the app; a path that is no page, or names what is not there, is still a 404."""

    @app.server.after_request
    def _status(response: Any) -> Any:
        if request.url_rule is not None and request.url_rule.rule == "/<path:path>" and response.status_code == 200:
            try:
                page, names = find_page(request.path)
                page.version(reader, names=names)
            except InputError:
                response.status_code = 404
            except EnvironmentMissing:
                pass  # the page itself says so, and goes on looking
        return response


class _QuietHandler(WSGIRequestHandler):
    """No line a request, and nothing about versions in the headers."""

    protocol_version = "HTTP/1.1"
    server_version = "ablate"
    sys_version = ""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        return

    def log_error(self, format: str, *args: Any) -> None:
        """Nothing: what is wrong with a request's first line quotes it, and it may hold a token."""


def serve(
    store_url: str, *, host: str, port: int, workspace: Path | None = None, token: str | None = None, allow_control: bool = False
) -> None:
    """Serves until interrupted. Not through `app.run`, which reads HOST, PORT and DASH_DEBUG from the environment."""
    check_access(host, port=port, token=token)
    check_url(store_url)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((host, port))
        except OSError as error:
            raise EnvironmentMissing(
                f"cannot serve on {host}:{port}: {error.strerror}; end what listens there, or choose another with --port {port + 1}"
            ) from error
        place.listen(128)
        secret = secrets.token_urlsafe(32) if token == AUTO else token
        access = Access(secret) if secret else None
        app = make_app(store_url, workspace=workspace, host=host, access=access, allow_control=allow_control)
        server = make_server_on(place, app, host=host)
        print(start_line(host, server.port, token=secret, made=token == AUTO), flush=True)
        answer(server)


def make_server_on(place: socket.socket, app: Dash, *, host: str) -> BaseWSGIServer:
    """A server on a socket that listens already."""
    app.server.debug = False
    return make_server(host, 0, app.server, threaded=True, request_handler=_QuietHandler, fd=place.fileno())


def answer(server: BaseWSGIServer) -> None:
    """Until interrupted; the process, which does nothing else, is set up for it."""
    collect_rarely()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


def start_line(host: str, port: int, *, token: str | None, made: bool) -> str:
    """Where the pages are; a token is in it only if it was made here, where nobody could know it otherwise."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
    asks = "" if token is None else "not encrypted; " if made else "asks for the token; not encrypted; "
    return f"ablate dashboard: http://{name}:{port}/{f'?token={token}' if made else ''} ({asks}Ctrl-C ends it)"


def check_url(store_url: str) -> None:
    """A store that is not there yet may come; a URL that is none never will."""
    with suppress(EnvironmentMissing):
        open_store(store_url).close()


def _serve_a_run(number: int, store_url: str, *, workspace: Path | None, token: str | None) -> None:
    """On the loopback socket of `ablate run --dashboard`, until that closes our standard input, which its death does too."""

    def watch() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    # Ctrl-C reaches us as well, and the run still has to end in order
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    with socket.socket(fileno=number) as place:
        secret = secrets.token_urlsafe(32) if token == AUTO else token
        app = make_app(store_url, workspace=workspace, access=Access(secret) if secret else None)
        server = make_server_on(place, app, host="127.0.0.1")
        if token == AUTO:
            print(start_line("127.0.0.1", server.port, token=secret, made=True), flush=True)
        answer(server)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m dashboards.app",
        description=f"Serves the pages of a store. The token that they ask for is in the environment, {TOKEN_VARIABLE}.",
    )
    parser.add_argument("--store", required=True, help="SQLAlchemy URL, such as sqlite:////path/to/ablate.db")
    parser.add_argument("--workspace", type=Path, metavar="FOLDER", help="Shows the logs that attempts left in it; none without.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8050)
    parser.add_argument("--allow-control", action="store_true", help="With buttons that retry what failed and stop a run.")
    parser.add_argument("--socket", type=int, metavar="NUMBER", help="A loopback socket that a run listens on, in the place of both.")
    asked = parser.parse_args(arguments)
    token = os.environ.pop(TOKEN_VARIABLE, "") or None
    try:
        if asked.socket is None:
            options = {"host": asked.host, "port": asked.port, "allow_control": asked.allow_control}
            serve(asked.store, workspace=asked.workspace, token=token, **options)
        else:
            _serve_a_run(asked.socket, asked.store, workspace=asked.workspace, token=token)
    except AblateError as error:
        print(f"ablate dashboard: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
