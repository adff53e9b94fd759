"""The pages as a program: `python -m dashboards.app --store URL`. It reads the store and shares nothing else with a run.

One callback finds the page of the address. From then on the browser looks for news each second (`live.py`), and only a new version reaches
the page's own callbacks, through the stores `seen` and `points`. While the store is away the page stays and says so.
"""

import argparse
import logging
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, set_props
from dash.development.base_component import Component
from flask import request
from werkzeug.serving import WSGIRequestHandler, make_server

from ablate.errors import AblateError, EnvironmentMissing, InputError
from ablate.stores import open_store
from dashboards.address import read_query
from dashboards.changes import Sent
from dashboards.live import LOOK_SECONDS, Looks, serve_looks, versions
from dashboards.pages import PAGES, find_page
from dashboards.reader import Reader
from dashboards.security import LOOPBACK, protect
from dashboards.sharing import share_answers
from dashboards.widgets import aria, legend, message

logger = logging.getLogger(__name__)


def make_app(store_url: str) -> Dash:
    """The app over one store, which need not exist yet."""
    reader, sent = Reader(store_url), Sent()
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
    protect(app.server, script_hashes=app.csp_hashes())
    serve_looks(app.server, Looks(partial(versions, find_page, reader)))
    share_answers(app.server, outputs=_shared(app))
    _answer_404(app)
    return app


def show(reader: Reader, *, path: object, search: object) -> tuple[Any, dict[str, Any], int]:
    """The page of an address, what its viewer has `seen` by that, and how many points of growing curves."""
    try:
        page, names = find_page(path if isinstance(path, str) else "/")
        seen = {"path": path, "version": page.version(reader, names=names), "shown": True}
        return page.layout(reader, names=names, query=read_query(search)), seen, page.points(reader, names=names)
    except InputError as error:
        return message(str(error)), {"path": path, "version": str(error), "shown": False}, 0
    except EnvironmentMissing as error:
        return message(f"{error}\nThis page goes on looking.", kind="away"), {"path": path, "version": str(error), "shown": False}, 0


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

    news = [Output("seen", "data"), Output("points", "data"), Output("again", "data"), Output("notice", "children")]
    looks = [
        Input("tick", "n_intervals"),
        State("url", "pathname"),
        State("seen", "data"),
        State("points", "data"),
        State("notice", "children"),
    ]
    app.clientside_callback(ClientsideFunction("ablate", "look"), *news, *looks, prevent_initial_call=True)
    app.clientside_callback(ClientsideFunction("ablate", "theme"), Output("dark", "data"), Input("theme", "value"))
    app.clientside_callback(ClientsideFunction("ablate", "title"), Input("url", "pathname"))


def _shared(app: Dash) -> set[str]:
    """Callbacks whose requests say which version they ask about."""
    return {output for output, callback in app.callback_map.items() if any(each["id"] == "seen" for each in callback["inputs"])}


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
