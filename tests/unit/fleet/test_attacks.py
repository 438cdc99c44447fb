"""`gw console` attacked by other users of its machine and by web pages, over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode

import pytest
from console_site import Browser, ConsoleSite
from starlette.types import Receive, Scope, Send

from gatewright.console import serve
from gatewright.console.access import Access

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def site(tmp_path: Path) -> ConsoleSite:
    """Two gateways."""
    return ConsoleSite(tmp_path)


@pytest.fixture
def admin(site: ConsoleSite) -> Iterator[Browser]:
    """Who was given the address."""
    with site.served() as browser:
        yield browser.enter()


def said(port: int, request: bytes) -> bytes:
    """What the server answers to these bytes; empty if it closes without a word."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65_536):
                answer += piece
        return answer


def test_a_server_of_another_user_on_another_port_is_not_sent_the_cookie(site: ConsoleSite) -> None:
    jar = CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    with site.served() as browser:
        with opener.open(serve.address(browser.access), timeout=60) as page:
            assert b"messages judged" in page.read()
        for path in ("/", "/quarantine", "/style.css"):
            request = urllib.request.Request(f"http://127.0.0.1:{browser.port % 60_000 + 1}{path}")
            jar.add_cookie_header(request)
            assert not request.has_header("Cookie"), "browsers take no account of the port"


def test_a_page_is_below_the_path_that_nobody_can_guess_alone(admin: Browser, site: ConsoleSite) -> None:
    for path in ("/", "/queue", "//queue", f"{admin.access.base}x/queue", f"{admin.access.base[:-1]}/queue"):
        connection = http.client.HTTPConnection("127.0.0.1", admin.port, timeout=60)
        connection.request("GET", path, headers={"Cookie": admin.cookie})
        assert connection.getresponse().status == 403, path
        connection.close()
    assert site.asked == []


@pytest.mark.parametrize("beginning", [b"", b"GET /", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\nx"])
def test_strangers_who_hold_connections_do_not_keep_the_administrator_out(admin: Browser, beginning: bytes) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(6 * serve.MOST_STRANGERS):
            held = stack.enter_context(socket.create_connection(("127.0.0.1", admin.port), 20))
            with contextlib.suppress(ConnectionError):
                held.sendall(beginning)
        assert "Overview" in admin.page("/")
        assert admin.send("/do/cutoff", ("way", "inbound"), ("verb", "open"))[0] == 303


def test_strangers_who_do_not_read_what_they_are_answered_do_not_keep_the_administrator_out(
    admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, begun = Access.__call__, threading.Semaphore(0)

    async def answer_readers(access: Access, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/unread":
            return await answer(access, scope, receive, send)
        begun.release()
        while (await receive())["type"] != "http.disconnect":
            pass
        return None

    monkeypatch.setattr(Access, "__call__", answer_readers)
    with contextlib.ExitStack() as stack:
        for _ in range(4 * serve.MOST_STRANGERS):
            held = stack.enter_context(socket.create_connection(("127.0.0.1", admin.port), 20))
            held.sendall(b"GET /unread HTTP/1.1\r\nHost: x\r\n\r\n")
            assert begun.acquire(timeout=20), "the server has no room for one more"
        assert "Overview" in admin.page("/")


def test_what_is_no_request_of_a_browsers_gets_nothing(admin: Browser, site: ConsoleSite) -> None:
    own = f"Host: 127.0.0.1:{admin.port}\r\nCookie: {admin.cookie}\r\n".encode()
    base = admin.access.base.encode()
    body = urlencode([("csrf", admin.access.csrf), ("way", "both"), ("verb", "cut"), ("sure", "yes")]).encode()
    long = b"Content-Length: %d\r\n" % len(body)
    cases = {
        "two hosts": b"GET %b/queue HTTP/1.1\r\nHost: evil.test\r\n%b\r\n" % (base, own),
        "no host": b"GET %b/queue HTTP/1.0\r\nCookie: %b\r\n\r\n" % (base, admin.cookie.encode()),
        "another's address": b"GET http://evil.test%b/ HTTP/1.1\r\nHost: evil.test\r\n\r\n" % base,
        "a tunnel": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n%b\r\n" % own,
        "a header without end": b"GET %b/ HTTP/1.1\r\n%bX: " % (base, own) + b"x" * 200_000,
        "two lengths": b"POST %b/do/cutoff HTTP/1.1\r\n%bContent-Length: 3\r\n%b\r\n%b" % (base, own, long, body),
        "length and pieces": b"POST %b/do/cutoff HTTP/1.1\r\n%b%bTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%b"
        % (base, own, long, body),
        "nonsense": b"\x16\x03\x01\x02\0\x01" * 100,
        "a form that is cut": b"POST %b/do/cutoff HTTP/1.1\r\n%b%b\r\n%b" % (base, own, long, body[:-5]),
        "another method": b"PUT %b/do/cutoff HTTP/1.1\r\n%b%b\r\n%b" % (base, own, long, body),
        "the other way to say which": b"GET %b/do/cutoff?%b HTTP/1.1\r\n%b\r\n" % (base, body, own),
    }
    for what, request in cases.items():
        answer = said(admin.port, request)
        assert not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 3")), (what, answer[:300])
    assert site.asked == []
    assert "Overview" in admin.page("/"), "and it is there as before"


def test_no_path_leads_to_other_files(admin: Browser) -> None:
    for path in (
        "/../serve.py",
        "/..%2fserve.py",
        "/static/../../serve.py",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/style.css/../x",
    ):
        status, _, text = admin.ask(path)
        assert status == 404 and "root:" not in text and "import" not in text, path


def test_what_a_stranger_wrote_gets_into_no_header_of_an_answer(admin: Browser) -> None:
    for path in ("/done?result=%0d%0aSet-Cookie:%20x=1", "/message?gateway=gw1%0d%0aX:1&id=1", "/%0d%0aX:%201"):
        status, headers, _ = admin.ask(path)
        assert status in (400, 404) and not {"x", "set-cookie"} & headers.keys(), path
