"""What a gateway does without, and what may listen on it."""

from __future__ import annotations

from gatewright import kinds
from gatewright.chapters import Chapter

SOCKET = kinds.record(
    {
        "proto": kinds.choice("tcp", "udp"),
        "port": kinds.port,
        "owner": kinds.matching(r"[!-~]([ -~]{0,30}[!-~])?", "the name of a program"),
        "address": kinds.address,
    },
    needed=["proto", "port", "owner"],
)
"""A socket that may be there: the inventory's or a role's."""

CHAPTER = Chapter(
    options={
        "service_trimming_units": kinds.listed(kinds.unit),
        "service_trimming_mta_units": kinds.listed(kinds.unit),
        "service_trimming_extra_units": kinds.listed(kinds.unit),
        "service_trimming_purged_packages": kinds.listed(kinds.package),
        "service_trimming_allowed_sockets": kinds.listed(SOCKET),
    },
)
