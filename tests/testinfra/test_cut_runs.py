"""A run that was killed is made good by the next: what was owed when it died (a restart, a reload) is done then."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess

import pytest
from controller import playbook
from lab_hosts import Gateway

from lab.machine import environment
from lab.topology import PROJECT

SITE = "playbooks/site.yml"
NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
PLACES = 20
TAGS: tuple[str, ...] = ("--tags", "hardening,daemontools,dnscache")
# A value for each service, so that every one of them owes a restart.
CHANGED: dict[str, object] = {
    "hardening_journal_size": "321M",
    "hardening_ban_seconds": 601,
    "hardening_time_servers": ["127.0.0.9"],
    "dnscache_cache_size": 10000001,
    "daemontools_stop_timeout": 21,
}
# What a service reads at its start.
FILES = {
    "systemd-journald": "/etc/systemd/journald.conf /etc/systemd/journald.conf.d/*",
    "fail2ban": "/etc/fail2ban/jail.local",
    "chrony": "/etc/chrony/chrony.conf",
    "svscan": "/etc/systemd/system/svscan.service",
}
TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(.*)\] \*+$", re.MULTILINE)


def places(output: str) -> list[str]:
    """Titles of tasks that come once, spread over a run that changes something."""
    titles = [title for title in TASK.findall(output) if not title.startswith("Refuse")]
    single = [title for title in titles if titles.count(title) == 1]
    step = max(1, len(single) // PLACES)
    return single[step - 1 :: step][:PLACES]


def run_until(title: str, host: str, variables: dict[str, object]) -> bool:
    """Run the playbook, and kill it, with all that it started here, when a task begins; whether it came so far."""
    command = ["ansible-playbook", SITE, "--limit", host, *TAGS, "--extra-vars", json.dumps(variables)]
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment(), text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # short arguments, many a line # fmt: skip
        assert process.stdout
        for line in process.stdout:
            found = TASK.match(line)
            if found and found[1] == title:
                os.killpg(process.pid, signal.SIGKILL)
                return True
    return False


def stale(gateway: Gateway) -> list[str]:
    """Services that started before what they read was written."""
    script = """
    for file in {files}; do [ ! -e "$file" ] || stat -c %Z "$file"; done | sort -n | tail -n 1
    date -d "$(systemctl show -P ActiveEnterTimestamp {unit})" +%s
    """
    found = []
    for unit, files in FILES.items():
        written, started = gateway.sh(script.format(files=files, unit=unit)).split()
        if int(started) < int(written):
            found.append(unit)
    return found


@pytest.mark.skipif(not NIGHTLY, reason="GATEWRIGHT_NIGHTLY is not set: it takes some ten minutes")
@pytest.mark.timeout(3600)
def test_a_run_that_was_killed_at_many_places_is_made_good_by_the_next(gateway: Gateway) -> None:
    try:
        seen = playbook(SITE, gateway.name, *TAGS, "--check", variables=CHANGED).output
        cut_at = [title for title in places(seen) if run_until(title, gateway.name, CHANGED)]
        assert len(cut_at) >= PLACES - 2, (cut_at, places(seen))
        playbook(SITE, gateway.name, *TAGS, variables=CHANGED)
        assert stale(gateway) == [], cut_at
        assert gateway.sh("ls /var/lib/gatewright/owed").split() == []
        assert gateway.run("cat", "/service/dnscache/env/CACHESIZE").strip() == "10000001"
        written, started = gateway.sh(
            'stat -Lc %Z /service/dnscache/env/CACHESIZE; date -d "$(ps -o lstart= -C dnscache)" +%s'
        ).split()
        assert int(started) >= int(written), "dnscache runs with what it was told"
        assert playbook(SITE, gateway.name, *TAGS, variables=CHANGED).changed(gateway.name) == 0
    finally:
        playbook(SITE, gateway.name, *TAGS)
