"""The pages as a program: `python -m dashboards.app --store URL`. It reads the store and shares nothing else with a run.

One callback moves the app: it finds the page of the address, and every two seconds asks the store for the page's version.
Only a new version reaches the page's own callbacks, through the `seen` store. While the store is away the page stays and says so.
"""

import argparse
import logging
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update, set_props
from dash.development.base_component import Component
from flask import request
from werkzeug.serving import WSGIRequestHandler, make_server

from ablate.errors import AblateError, EnvironmentMissing, InputError
from ablate.stores import open_store
from dashboards.address import read_query
from dashboards.pages import PAGES, find_page
from dashboards.reader import Reader
from dashboards.security import LOOPBACK, protect
from dashboards.widgets import aria, legend, message

POLL_SECONDS = 2
PATIENCE_SECONDS = 8

logger = logging.getLogger(__name__)


def make_app(store_url: str) -> Dash:
    """The app over one store, which need not exist yet."""
    reader = Reader(store_url)
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
        page.register(app, reader=reader)
    protect(app.server, script_hashes=app.csp_hashes())
    _answer_404(app)
    return app


def advance(reader: Reader, *, path: object, search: object, seen: object, notice: object) -> tuple[Any, Any, Any]:
    """(page content, what is seen, notice): everything `no_update` unless the address or the page's version changed."""
    before = seen if isinstance(seen, dict) else {}
    fresh = before.get("path") != path or not before.get("shown")
    silent = no_update if not notice else ""
    try:
        page, names = find_page(path if isinstance(path, str) else "/")
        version = page.version(reader, names=names)
        if not fresh:
            return no_update, no_update if version == before.get("version") else before | {"version": version}, silent
        content = page.layout(reader, names=names, query=read_query(search))
        return content, {"path": path, "version": version, "shown": True}, silent
    except InputError as error:
        missing = {"path": path, "version": str(error), "shown": False}
        return (no_update, no_update, silent) if missing == before else (message(str(error)), missing, silent)
    except EnvironmentMissing as error:
        text = f"{error}\nThis page looks again every {POLL_SECONDS} seconds."
        if not fresh:
            return no_update, no_update, no_update if notice == text else text
        away = {"path": path, "version": text, "shown": False}
        return (no_update, no_update, silent) if away == before else (message(text, kind="away"), away, silent)


def _register(app: Dash, reader: Reader) -> None:
    @app.callback(
        Output("content", "children"),
        Output("seen", "data"),
        Output("notice", "children"),
        Input("url", "pathname"),
        Input("tick", "n_intervals"),
        State("url", "search"),
        State("seen", "data"),
        State("notice", "children"),
        # the next question comes two seconds after the answer; an answer that never comes delays it, and ends nothing
        running=[(Output("tick", "interval"), PATIENCE_SECONDS * 1000, POLL_SECONDS * 1000)],
    )
    def _advance(path: object, _ticks: object, search: object, seen: object, notice: object) -> tuple[Any, Any, Any]:
        return advance(reader, path=path, search=search, seen=seen, notice=notice)

    app.clientside_callback(ClientsideFunction("ablate", "theme"), Output("dark", "data"), Input("theme", "value"))
    app.clientside_callback(ClientsideFunction("ablate", "title"), Input("url", "pathname"))


def _shell() -> Component:
    """What stays while pages come and go."""
    themes = [{"label": name.capitalize(), "value": name} for name in ("auto", "light", "dark")]
    theme = dcc.RadioItems(id="theme", options=themes, value="auto", inline=True, persistence=True)
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Interval(id="tick", interval=POLL_SECONDS * 1000),
            dcc.Store(id="seen"),
            dcc.Store(id="dark"),
            html.A("Skip to the content", href="#content", className="skip"),
            html.Header(
                [
                    dcc.Link("ablate", href="/", className="brand"),
                    html.Nav(dcc.Link("Studies", href="/"), **aria(label="Main")),
                    legend(),
                    html.Div(theme, className="theme", role="group", **aria(label="Colours")),
                ]
            ),
            html.Div(id="notice", role="status", className="notice"),
            html.Main(id="content", tabIndex=-1),
        ]
    )


def _show_error(error: Exception) -> None:
    """A callback that fails leaves its part of the page as it is and says why above it."""
    if isinstance(error, AblateError):
        set_props("notice", {"children": str(error)})
        return
    logger.error("a callback failed", exc_info=error)
    set_props("notice", {"children": "A part of this page failed; the dashboard's terminal says why."})


def _answer_404(app: Dash) -> None:
    """Dash answers every path with the app; a path that is no page is still a 404."""

    @app.server.after_request
    def _status(response: Any) -> Any:
        if request.url_rule is not None and request.url_rule.rule == "/<path:path>" and response.status_code == 200:
            try:
                find_page(request.path)
            except InputError:
                response.status_code = 404
        return response


class _QuietHandler(WSGIRequestHandler):
    """No line a request, and nothing about versions in the headers."""

    protocol_version = "HTTP/1.1"
    server_version = "ablate"
    sys_version = ""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        return


def serve(store_url: str, *, host: str, port: int) -> None:
    """Serves until interrupted. Not through `app.run`, which reads HOST, PORT and DASH_DEBUG from the environment."""
    if host not in LOOPBACK:
        raise InputError(
            f"--host {host}: this version serves on loopback only ({', '.join(LOOPBACK)}); "
            f"from another machine: ssh -L {port}:127.0.0.1:{port} <this machine>"
        )
    check_url(store_url)
    with socket.socket() as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((host, port))
        except OSError as error:
            raise EnvironmentMissing(
                f"cannot serve on {host}:{port}: {error.strerror}; end what listens there, or choose another with --port {port + 1}"
            ) from error
        place.listen(128)
        app = make_app(store_url)
        app.server.debug = False
        server = make_server(host, port, app.server, threaded=True, request_handler=_QuietHandler, fd=place.fileno())
        print(f"ablate dashboard: http://{host}:{server.port}/ (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            server.server_close()


def check_url(store_url: str) -> None:
    """A store that is not there yet may come; a URL that is none never will."""
    with suppress(EnvironmentMissing):
        open_store(store_url).close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m dashboards.app", description="Serves the pages of a store.")
    parser.add_argument("--store", required=True, help="SQLAlchemy URL, such as sqlite:////path/to/ablate.db")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8050)
    asked = parser.parse_args(arguments)
    try:
        serve(asked.store, host=asked.host, port=asked.port)
    except AblateError as error:
        print(f"ablate dashboard: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
