"""What a session of SMTP may cost, and who gets a place: bounds that must fit together."""

from __future__ import annotations

from gatewright.domains import parse_domain
from gatewright.inventory import Site
from gatewright.problems import Problems, entry_name

LEAST_RECIPIENTS = 100
"""RFC 5321, 4.5.3.1.8: a server takes as many in one message."""
LEAST_TRIES = 20
"""Commands of a session that honest clients may need."""
ADDRESSES = 3
"""Times that a stranger may have what one source may: by IPv4, and twice by an IPv6 /48."""
# Who tell a resolver that they do not like, or a quota that is used up, by an answer with a TXT record of its own.
_LISTS_WITH_ERROR_CODES = ("spamhaus.org", "uribl.com", "surbl.org", "barracudacentral.org", "abuseat.org")
_TAKEN_FOR = "in a way that rblsmtpd takes for a listing of everybody: all mail would be put off"


def check_door(site: Site, problems: Problems) -> None:
    """Note all that is wrong."""
    _check_places(site, problems)
    _check_sessions(site, problems)
    _check_lists(site, problems)


def _number(site: Site, name: str) -> int | None:
    """A number above 0; anything else is an option's own mistake, or no limit."""
    value = site.value(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _check_places(site: Site, problems: Problems) -> None:
    """There must be places for everybody: for more than one stranger, and for relay clients."""
    total, relay = _number(site, "qmail_concurrency_incoming"), _number(site, "qmail_concurrency_relay")
    source, client = _number(site, "qmail_concurrency_source"), _number(site, "qmail_concurrency_relay_source")
    if total and relay and source and total - relay <= ADDRESSES * source:
        problems.add(
            "qmail_concurrency_incoming",
            f"{total} less the {relay} of relay clients (qmail_concurrency_relay) leaves all strangers no more than one"
            f" may have, {source} by IPv4 and {2 * source} by an IPv6 /48 (qmail_concurrency_source):"
            f" it must be {relay + ADDRESSES * source + 1}",
        )
    if relay and client and client > relay:
        problems.add(
            "qmail_concurrency_relay_source", f"{client} is more than all have (qmail_concurrency_relay, {relay})"
        )


def _check_sessions(site: Site, problems: Problems) -> None:
    """Limits that honest clients would meet."""
    least = {
        "qmail_max_recipients": LEAST_RECIPIENTS,
        "qmail_max_recipients_relay": LEAST_RECIPIENTS,
        "qmail_session_errors": LEAST_TRIES,
        "qmail_session_commands": LEAST_TRIES,
        "qmail_session_seconds": _number(site, "qmail_smtpd_timeout") or 0,
    }
    for name, number in least.items():
        value = _number(site, name)
        if value and value < number:
            why = f"qmail_smtpd_timeout ({number})" if name == "qmail_session_seconds" else str(number)
            problems.add(name, f"must be {why} at least, or 0 for no limit, not {value}: honest clients would meet it")


def _check_lists(site: Site, problems: Problems) -> None:
    """rblsmtpd takes any TXT record for a listing: what cannot work rightly with that is refused."""
    value = site.value("qmail_rblsmtpd_lists")
    for index, item in enumerate(value if isinstance(value, list) else []):
        try:
            name = parse_domain(str(item).partition(":")[0])
        except ValueError:
            continue  # noted where each option is looked at
        where = entry_name("qmail_rblsmtpd_lists", index, item)
        if any(name == known or name.endswith(f".{known}") for known in _LISTS_WITH_ERROR_CODES):
            problems.add(where, f"answers errors (a used-up quota, a resolver it does not serve) {_TAKEN_FOR}")
        elif site.value("dnscache_forward_only") is True:
            words = "is asked by others' resolvers (dnscache_forward_only), to which it answers"
            problems.add(where, f"{words} {_TAKEN_FOR}")
