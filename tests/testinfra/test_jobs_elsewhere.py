"""Jobs by their tags on a host that is not as the roles' defaults have it: they know what a whole run knew of it.

The gateway's host is made anew, and left as it is then: the file runs only when it is named.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from controller import Run, playbook
from lab_hosts import Gateway, lab_host

from lab.machine import environment
from lab.topology import PROJECT

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
pytestmark = [
    pytest.mark.skipif(not NIGHTLY, reason="GATEWRIGHT_NIGHTLY is not set: a first run, and twenty of site.yml"),
    pytest.mark.timeout(1800),
]
SITE = "playbooks/site.yml"
MINUTES = 1200
NUMBER, PROXY_PORT = 7792, 3142
ACCOUNT = f"useradd --system --uid {NUMBER} qmaild"
PROXY = f"""echo 'Acquire::http::Proxy::x.test "http://x.test:{PROXY_PORT}";' > /etc/apt/apt.conf.d/90-odd-proxy"""
VARIABLES = {"foundation_adopt_accounts": True}


def documented() -> list[str]:
    """The tags of docs/operations.md, a job each."""
    text = (PROJECT / "docs/operations.md").read_text()
    return sorted({tag for tags in re.findall(r"--tags ([a-z_,]+)", text) for tag in tags.split(",")})


@pytest.fixture(scope="module")
def odd(gateway: Gateway) -> Gateway:
    """A gateway with an account of another number and apt's proxy at another port, after whole runs."""
    subprocess.run(["podman", "rm", "-f", "-t", "0", lab_host(gateway.name).container], env=environment(), check=True)
    subprocess.run([sys.executable, "-m", "lab", "up", gateway.name], cwd=PROJECT, env=environment(), check=True)
    for oddity in (ACCOUNT, PROXY):  # nobody answers as the proxy, which has to wait until all packages are there
        gateway.sh(oddity)
        playbook(SITE, gateway.name, variables=VARIABLES, seconds=MINUTES)
    whole(gateway)
    return gateway


def whole(gateway: Gateway) -> None:
    """Run all of site.yml, which finds nothing to do."""
    unchanged(gateway, playbook(SITE, gateway.name, "--diff", variables=VARIABLES, seconds=MINUTES))


def unchanged(gateway: Gateway, run: Run) -> None:
    """Assert that a run neither changed anything nor showed a difference."""
    assert run.changed(gateway.name) == 0, run.output
    assert not re.search(r"^(---|\+\+\+) ", run.output, re.MULTILINE), run.output


def test_the_host_is_not_as_the_defaults_have_it(odd: Gateway) -> None:
    assert odd.sh("id -u qmaild").strip() == str(NUMBER)
    assert str(PROXY_PORT) in odd.sh("cat /etc/nftables.conf")
    assert str(NUMBER) in odd.sh("cat /var/qmail/supervise/qmail-smtpd/run /etc/nftables.conf")


def test_the_documentation_has_the_jobs() -> None:
    assert {"tcp_smtp", "smtproutes", "firewall", "monitoring", "pull", "starttls"} <= set(documented())


@pytest.mark.parametrize("tag", documented())
def test_a_job_changes_nothing_that_a_whole_run_has_set(odd: Gateway, tag: str) -> None:
    unchanged(odd, playbook(SITE, odd.name, "--diff", "--tags", tag, variables=VARIABLES))


def test_a_whole_run_after_all_jobs_finds_nothing_to_do(odd: Gateway) -> None:
    whole(odd)
