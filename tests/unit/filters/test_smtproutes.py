"""smtproutes: the control files that qmail reads, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from gatewright.chapters.smtproutes.routing import (
    MOST_RCPTHOSTS,
    TLS_POLICIES,
    find_loops,
    read_routing,
    smtproutes_control,
)
from gatewright.domains import parse_domain
from gatewright.problems import InventoryError


def test_the_files_of_a_small_company() -> None:
    control = smtproutes_control(
        [
            {"domain": "Example.org", "host": "mail.example.org", "subdomains": True},
            {"domain": "branch.example", "host": "10.0.0.2", "port": 2525},
        ],
        {"host": "smart.example.net"},
        [".partner.example"],
        ["@spam.example", "a@b.example"],
        1000,
    )
    assert control == {
        "rcpthosts": "example.org\n.example.org\nbranch.example\n.partner.example\n",
        "smtproutes": (
            "example.org:mail.example.org\n.example.org:mail.example.org\n"
            "branch.example:[10.0.0.2]:2525\n:smart.example.net\n"
        ),
        "tlsroutes": "example.org:optional\n.example.org:optional\nbranch.example:optional\n:optional\n",
        "badmailfrom": "@spam.example\na@b.example\n",
        "databytes": "1000\n",
    }


def test_with_no_route_rcpthosts_is_there_and_empty_or_the_gateway_would_be_an_open_relay() -> None:
    assert smtproutes_control([]) == {"rcpthosts": ""}


def test_each_route_has_its_own_word_on_tls_or_the_usual_one() -> None:
    routes = [
        {"domain": "a.example", "host": "10.0.0.2", "tls": "required"},
        {"domain": "b.example", "host": "10.0.0.2", "tls": "never", "subdomains": True},
        {"domain": "c.example", "host": "10.0.0.2", "subdomains": True},
    ]
    default = {"host": "smart.example.net", "tls": "optional"}
    control = smtproutes_control(routes, default, tls="verified", authorities="/etc/ssl/company.pem")
    assert control["tlsroutes"] == "a.example:required\nc.example:verified\n.c.example:verified\n:optional\n"
    assert control["tlsca"] == "/etc/ssl/company.pem\n"
    assert control["smtproutes"].count("\n") == 6, "a route without TLS is a route"
    assert "tlsroutes" not in smtproutes_control(routes[1:2], authorities="")


def test_no_route_may_insist_on_tls_that_nothing_speaks() -> None:
    routes = [{"domain": f"{word}.example", "host": "10.0.0.2", "tls": word} for word in TLS_POLICIES]
    control = smtproutes_control(routes[:2], authorities="/etc/ssl/company.pem", speaks_tls=False)
    assert set(control) == {"rcpthosts", "smtproutes"}
    with pytest.raises(InventoryError) as refused:
        smtproutes_control(routes, {"host": "10.0.0.3"}, tls="required", speaks_tls=False)
    assert list(refused.value.problems) == [
        "smtproutes_routes[2] (required.example): tls is required, but no program here speaks it",
        "smtproutes_routes[3] (verified.example): tls is verified, but no program here speaks it",
        "smtproutes_default_route: tls is required, but no program here speaks it",
    ]


@pytest.mark.parametrize("word", ["yes", True, None, "", "Required", ["required"], {}])
def test_a_word_on_tls_that_is_none_is_refused_where_it_stands(word: object) -> None:
    with pytest.raises(InventoryError) as refused:
        read_routing([{"domain": "a.example", "host": "10.0.0.2", "tls": word}], {"host": "b.example", "tls": word})
    assert list(refused.value.problems) == [
        f"{where}: tls must be never, optional, required or verified, not {word!r}"
        for where in ("smtproutes_routes[0] (a.example)", "smtproutes_default_route")
    ]
    with pytest.raises(InventoryError, match="smtproutes_tls: tls must be"):
        read_routing([{"domain": "a.example", "host": "10.0.0.2"}], tls=word)


def test_what_does_not_fit_into_rcpthosts_goes_to_morercpthosts() -> None:
    names = [f"d{number}.example" for number in range(MOST_RCPTHOSTS + 2)]
    control = smtproutes_control([{"domain": name, "host": "10.0.0.2"} for name in names])
    assert control["rcpthosts"].split() == names[:MOST_RCPTHOSTS]
    assert control["morercpthosts"].split() == names[MOST_RCPTHOSTS:]
    assert "morercpthosts" not in smtproutes_control([], extra_rcpthosts=names[:MOST_RCPTHOSTS])


def test_an_international_domain_is_written_in_ascii() -> None:
    assert parse_domain("BÜCHER.example") == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ("a b.example", "space"),
        ("a..example", "empty label"),
        ("example.org.", "empty label"),
        ("-a.example", "'-a'"),
        ("a:b.example", "'a:b'"),
        ("a\n.example", "space"),
        ("x" * 64 + ".example", "63"),
        (".".join(["abcdefgh"] * 30), "253"),
        ("straße.example", "two ASCII forms"),
        ("10.0.0.1", "not a domain"),
        ("", "empty"),
        (7, "must be a string"),
    ],
)
def test_a_wrong_domain_is_refused(domain: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_domain(domain)


def loops(routes: dict[str, dict[str, Any]], start: str) -> list[str]:
    names = {gateway: {gateway, f"10.0.0.{number}"} for number, gateway in enumerate(routes)}
    return find_loops(start, {gateway: read_routing(**routing) for gateway, routing in routes.items()}, names)


def test_routes_that_lead_round_among_gateways_are_found() -> None:
    to_b = {"routes": [{"domain": "a.example", "host": "b"}]}
    assert "a -> b -> a" in loops({"a": to_b, "b": {"routes": [{"domain": "a.example", "host": "10.0.0.0"}]}}, "a")[0]
    # The parent's route with subdomains, and the default route, take the domain too.
    wide = {"routes": [{"domain": "example", "host": "a", "subdomains": True}]}
    assert "b -> a -> b" in loops({"a": to_b, "b": wide}, "b")[0]
    assert "mail for a.example" in loops({"a": to_b, "b": {"routes": [], "default_route": {"host": "a"}}}, "b")[0]


def test_a_chain_of_gateways_is_no_loop() -> None:
    chain = {
        "a": {"routes": [{"domain": "a.example", "host": "b"}], "default_route": {"host": "b"}},
        "b": {"routes": [{"domain": "a.example", "host": "mail.example"}], "default_route": {"host": "192.0.2.1"}},
    }
    assert loops(chain, "a") == loops(chain, "b") == []


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(InventoryError) as refused:
        read_routing(
            [{"domain": "a b", "host": "10.0.0.1"}, {"domain": "x.example", "host": "gw", "port": 70000}],
            own_names=["GW"],
        )
    assert len(refused.value.problems) == 3
