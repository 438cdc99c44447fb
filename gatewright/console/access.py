"""Who may use the page, and what the page may do.

Other users of this machine, and every web page that the administrator's browser has open, can reach 127.0.0.1. So the
address that `gw console` prints has a token, which is good once: it is exchanged for a cookie that is never sent along
with what another site starts (SameSite=Strict) and that no script can read. A browser sends cookies of 127.0.0.1 to all
its ports, also to one on which another user of this machine listens, but only with the path that they are for: so all
pages are below a path that nobody can guess. A request must name this server as its host, which a name that was made to
lead here (DNS rebinding) does not. A change needs a token out of our own form.
"""

from __future__ import annotations

import hmac
import secrets
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LONGEST_BODY = 1_000_000
"""Bytes of a form: some thousand messages are released at once."""
MOST_FIELDS = 10_000
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # not no-referrer, with which a browser sends a form's Origin as null
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
ENTER = """\
Open the address that `gw console` printed. Its token is good once: for another browser, start `gw console` again.
"""
FOREIGN = "This form is not from this page, or from an earlier one: go back and reload.\n"


class Access:
    """Stands before all pages. port: where the server listens, which a request must name."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self.app = app
        self.hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self.cookie = f"gatewright_{port}"
        self.base = f"/{secrets.token_urlsafe(16)}"
        self.token = secrets.token_urlsafe(32)
        self.session = secrets.token_urlsafe(32)
        self.csrf = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or have the page answer."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        request = Request(scope, receive)
        refusal = self._stranger(request) or await self._form(request)
        inner = {**scope, "path": scope["path"].removeprefix(self.base)}
        await (refusal or self.app)(inner, receive, send_with_headers)

    def _stranger(self, request: Request) -> Response | None:
        """The answer to whoever may not see a page; None for the administrator."""
        if request.headers.get("host", "") not in self.hosts:
            return PlainTextResponse("This server is 127.0.0.1 and has no other name.", 421)
        if request.method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("not allowed", 405)
        is_below = is_same(request.scope["path"][: len(self.base) + 1], f"{self.base}/")
        if is_below and is_same(request.cookies.get(self.cookie, ""), self.session):
            return None
        if request.method == "GET" and self._enters(request.query_params.get("token", "")):
            response = RedirectResponse(f"{self.base}/", 303)
            response.set_cookie(self.cookie, self.session, httponly=True, samesite="strict", path=f"{self.base}/")
            return response
        return PlainTextResponse(ENTER, 403)

    def _enters(self, token: str) -> bool:
        """Whether the token is the one; it is none afterwards."""
        if not (self.token and is_same(token, self.token)):
            return False
        self.token = ""
        return True

    async def _form(self, request: Request) -> Response | None:
        """Read the form of a change for the page; the answer if it is not one of ours."""
        request.state.csrf, request.state.base, request.state.form = self.csrf, self.base, []
        if request.method != "POST":
            return None
        if request.headers.get("origin", f"http://{self.hosts[0]}") not in [f"http://{host}" for host in self.hosts]:
            return PlainTextResponse("This form comes from another site.", 403)
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > LONGEST_BODY:
                return PlainTextResponse("This form is too large: choose fewer messages.", 413)
        try:
            form = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
        except ValueError:
            return PlainTextResponse("This is no form.", 400)
        if not is_same(dict(form).get("csrf", ""), self.csrf):
            return PlainTextResponse(FOREIGN, 403)
        request.state.form = form
        return None


def is_same(given: str, wanted: str) -> bool:
    """Compare secrets, in a time that tells nothing."""
    return hmac.compare_digest(given.encode(), wanted.encode())
