"""The commands for all gateways at once: `./gw trace`, `quarantine`, `queue` and `status`.

Each runs a module on the gateways over Ansible's own connection, all at the same time, and puts the answers together
here. A gateway that does not answer is named, and the others' answers stand.
"""

from __future__ import annotations

EXIT_OK, EXIT_NONE, EXIT_USAGE, EXIT_SILENT = 0, 1, 2, 3
"""Done or found; nothing found or nothing done; a usage that is none; a gateway that did not answer."""
EXIT_TEXT = """\
exit status: 0 found or done, 1 nothing was found or could be done, 2 usage, 3 a gateway did not answer (it is named,
and what the others said stands)"""
LEFT = "were not tried, as there was no time for them: do it again, or with a longer --timeout"
"""Said of how many messages."""
