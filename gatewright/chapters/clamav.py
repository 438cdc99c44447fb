"""The engine ClamAV: where its signatures come from, and what it may cost."""

from __future__ import annotations

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.inventory import Site
from gatewright.problems import Problems

# freshclam loads a file by its suffix, so another one would never be used.
_SIGNATURES = kinds.matching(
    r"[A-Za-z0-9_.-]+\.(hdb|hsb|hdu|hsu|mdb|msb|mdu|msu|ndb|ndu|ldb|ldu|idb|cdb|cfg|crb|db|fp|sfp|ftm|gdb|ign|ign2|pdb|wdb|yar|yara|cvd|cld|cud|pwdb)",
    "the name of a file with one of ClamAV's suffixes, such as site.ndb",
)


def check(site: Site, problems: Problems) -> None:
    """Who fetches signatures from a place of the site's must say which."""
    source = site.value("clamav_updates")
    needed = {"mirror": "clamav_mirror", "custom": "clamav_custom_signatures"}.get(str(source))
    if site.value("clamav_enabled") is True and needed and not site.value(needed):
        problems.add(needed, f"must say where the signatures are, as clamav_updates is {source!r}")


CHAPTER = Chapter(
    options={
        "clamav_mirror": kinds.url(empty=True),
        "clamav_custom_signatures": kinds.listed(kinds.url("http", "https", "file")),
        "clamav_update_ports": kinds.listed(kinds.ports, empty=False),
        "clamav_update_networks": kinds.networks,
        "clamav_checks_per_day": kinds.number(1, 50, "looks a day"),
        "clamav_signatures_folder": kinds.controller_path(empty=True),
        "clamav_own_signatures": kinds.mapped(_SIGNATURES, kinds.text),
        "clamav_max_bytes": kinds.number(1_000_000, 4_000_000_000, "bytes"),
        "clamav_threads": kinds.number(1, 256, "threads"),
        "clamav_memory_max": kinds.size,
        "clamav_timeout": kinds.number(1, 3600, "seconds"),
        "clamav_max_signature_days": kinds.number(0, 3650, "days"),
        "clamav_uid": kinds.account_id,
        "clamav_socket_group": kinds.account,
    },
    check=check,
)
