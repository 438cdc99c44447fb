"""`gw console`: start the page, and print its address."""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from gatewright.console import changes, pages
from gatewright.console.access import Access
from gatewright.console.desk import BusyError, Desk
from gatewright.console.render import page
from gatewright.fleet import EXIT_USAGE
from gatewright.fleet.ask import Fleet, UsageError, add_fleet, fleet_of
from gatewright.problems import InventoryError

DESCRIPTION = """\
A page for all gateways of an inventory: overview, quarantine, trace, queue, outbreak, cut-off. It listens on 127.0.0.1
of this machine alone, and its address has a token that is good once. Nothing listens on a gateway for it: it asks over
SSH, as the other commands do. Ctrl-C ends it.

From another machine: start it with --port 8025, and there `ssh -L 8025:127.0.0.1:8025` to this one."""

MOST_STRANGERS = 16
"""Connections without a request of the administrator's, and a quarter of all that there may be."""

EPILOG = """\
examples:
  gw console -i inventory/mine
  gw console -i inventory/mine --limit gw1 --port 8025

exit status: 0 it was ended, 2 usage, or the port is in use"""


def main(words: list[str], further: list[str]) -> int:
    """Serve until it is ended; returns the exit status."""
    made = argparse.ArgumentParser(
        "gw console", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--port", type=int, default=0, metavar="N", help="to listen on; without it, one that is free")
    add_fleet(made)
    options = made.parse_args(words)
    try:
        listener = listening(options.port)
    except (OSError, OverflowError) as error:
        print(f"gw console: port {options.port}: {error}", file=sys.stderr)
        return EXIT_USAGE
    access = with_access(fleet_of(options, further), listener.getsockname()[1])
    print(f"gw console: {address(access)}\nIts token is good once. Ctrl-C ends it.", flush=True)
    server(access).run(sockets=[listener])
    return 0


def listening(port: int) -> socket.socket:
    """A socket on this machine's own address; OSError if the port is in use."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(("127.0.0.1", port))
        made.listen()
    except BaseException:
        made.close()
        raise
    return made


def address(access: Access) -> str:
    """Where the page is."""
    return f"http://{access.hosts[0]}/?token={access.token}"


class Connection(H11Protocol):
    """A connection. Whoever can reach the port can open many and say nothing, or read no answer: beyond some that are
    not the administrator's the oldest of these is closed, so that there is always room for the administrator."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        """Somebody connects."""
        super().connection_made(transport)
        self.since = self.loop.time()
        strangers = [one for one in self.connections if isinstance(one, Connection) and not one.is_administrators()]
        if len(strangers) > MOST_STRANGERS:
            oldest = min(strangers, key=lambda one: one.since)
            self.connections.discard(oldest)  # which else happens after others that have come at the same time
            oldest.transport.abort()

    def is_administrators(self) -> bool:
        """Whether the latest request was let in: to no other one `Access` gives the token of the forms."""
        return self.scope is not None and "csrf" in self.scope["state"]


def server(access: Access) -> uvicorn.Server:
    """The server, which says nothing of what it serves."""
    return uvicorn.Server(
        uvicorn.Config(
            access,
            http=Connection,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            ws="none",
            limit_concurrency=4 * MOST_STRANGERS,
            timeout_graceful_shutdown=2,
        )
    )


def with_access(fleet: Fleet, port: int) -> Access:
    """The whole application."""
    return Access(application(fleet), port)


def application(fleet: Fleet) -> Starlette:
    """The pages for some gateways."""
    gets = {
        "/": pages.overview,
        "/quarantine": pages.quarantine,
        "/message": pages.message,
        "/trace": pages.tracing,
        "/queue": pages.queue,
        "/outbreak": pages.outbreak,
        "/cutoff": pages.cutoff,
        "/done": changes.done,
        "/style.css": pages.style,
        "/icon.svg": pages.icon,
    }
    routes = [Route(path, endpoint, methods=["GET"]) for path, endpoint in gets.items()]
    routes += [Route("/do/{what}", changes.change, methods=["POST"])]
    made = Starlette(
        routes=routes,
        exception_handlers={
            UsageError: failed,
            InventoryError: failed,
            BusyError: busy,
            HTTPException: not_there,
        },
    )
    made.state.desk, made.state.results = Desk(fleet), changes.Results()
    made.state.where = ", ".join(fleet.inventories) or "the usual inventory"
    return made


def failed(request: Request, error: Exception) -> Response:
    """What was asked cannot be done."""
    return problem(request, "This cannot be done", str(error), 400)


def busy(request: Request, error: Exception) -> Response:
    """Too much is asked at once."""
    del error
    return problem(request, "Too many questions at once", "Others are under way; reload this page soon.", 503)


def not_there(request: Request, error: Exception) -> Response:
    """There is no such page."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    return problem(request, "There is no such page", "", status)


def problem(request: Request, title: str, text: str, status: int) -> Response:
    """A page that says what is wrong."""
    common = {"csrf": request.state.csrf, "base": request.state.base, "here": "", "silent": {}}
    common |= {"where": request.app.state.where}
    return HTMLResponse(page("problem.html", title=title, text=text, **common), status)
