"""What is read off a host, each by a tool that others wrote."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.hardening.toolbox import CONTENT, INSIDE, NUMBER, Enter
from bench.plays import Run
from lab.machine import environment

PROFILES = (
    "standard",
    "anssi_bp28_minimal",
    "anssi_bp28_intermediary",
    "anssi_bp28_enhanced",
    "anssi_bp28_high",
    "cis_level1_server",
    "cis_level2_server",
)
POLICIES = {"bookworm": "Hardened Debian 12 (version 3)", "trixie": "Hardened Debian 13 (version 1)"}
UNITS = "cron rsyslog ssh fail2ban chrony clamav-freshclam"
"""Debian's own that a gateway has; those that roles install are known by what stands in their files."""


@dataclass(frozen=True)
class Host:
    """A booted host that is measured."""

    name: str
    enter: Enter
    suite: str
    address: str

    def sh(self, script: str) -> str:
        """Run a shell script inside; its exit code does not matter, scanners say with it what they found."""
        command = self.enter("sh", "-c", script)
        done = subprocess.run(command, input="", capture_output=True, text=True, env=environment(), errors="replace")
        return done.stdout


@dataclass(frozen=True)
class Figures:
    """One host's figures. openscap: profile -> (pass, fail); exposure: unit -> 0 to 10; runs: of site.yml, if built."""

    lynis: int
    warnings: int
    suggestions: int
    openscap: dict[str, tuple[int, int]]
    ssh_audit: str
    exposure: dict[str, float]
    sockets: list[str]
    set_id: list[str]
    failed_units: list[str]
    packages: int
    passed_rules: dict[str, list[str]] = field(default_factory=dict)
    failed_rules: dict[str, list[str]] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()


def lynis(host: Host) -> tuple[int, int, int]:
    """Return Lynis' hardening index, and how many warnings and suggestions it has."""
    host.sh("lynis audit system --no-colors --quick > /dev/null 2>&1")
    report = host.sh("cat /var/log/lynis-report.dat")
    index = re.search(r"^hardening_index=(\d+)", report, re.M)
    if not index:
        raise SystemExit(f"bench: Lynis gave {host.name} no index")
    return int(index[1]), report.count("\nwarning[]="), report.count("\nsuggestion[]=")


def openscap(host: Host, profile: str) -> tuple[list[str], list[str]]:
    """Return the names of the rules of a profile that pass, and of those that fail."""
    libraries = ":".join(f"{INSIDE}/{path}" for path in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib"))
    share = f"{INSIDE}/usr/share/openscap"
    settings = (
        f"LD_LIBRARY_PATH={libraries} OSCAP_SCHEMA_PATH={share}/schemas "
        f"OSCAP_XSLT_PATH={share}/xsl OSCAP_CPE_PATH={share}/cpe"
    )
    report = host.sh(
        f"env {settings} {INSIDE}/usr/bin/oscap xccdf eval --progress "
        f"--profile xccdf_org.ssgproject.content_profile_{profile} "
        f"{INSIDE}/{CONTENT}/ssg-debian{NUMBER[host.suite]}-ds.xml 2>/dev/null"
    )
    results = re.findall(r"content_rule_([^:\s]+):(\w+)", report)
    if not results:
        raise SystemExit(f"bench: OpenSCAP read nothing off {host.name}")
    return [rule for rule, result in results if result == "pass"], [
        rule for rule, result in results if result == "fail"
    ]


def ssh_audit(host: Host) -> str:
    """Return what ssh-audit says to the policy that it has for this Debian, and the algorithms it fails."""
    program = shutil.which("ssh-audit")
    if not program:
        return "not measured: pip install ssh-audit"
    policy = subprocess.run([program, "-P", POLICIES[host.suite], host.address], capture_output=True, text=True)
    verdict = "passed" if policy.returncode == 0 else "failed"
    audit = subprocess.run([program, "-j", host.address], capture_output=True, text=True)
    try:
        found = json.loads(audit.stdout)
    except json.JSONDecodeError:
        # OpenSSH 10 shuts a prober out for a while
        return f"policy {verdict}"
    offered = [item for kind in ("kex", "key", "enc", "mac") for item in found.get(kind, [])]
    failing = sum("fail" in item.get("notes", {}) for item in offered)
    return f"policy {verdict}, {failing} of {len(offered)} algorithms fail"


def exposure(host: Host) -> dict[str, float]:
    """Return systemd's exposure of the units that matter and are there."""
    told = host.sh(
        "cd /etc/systemd/system; "
        "ours=$(grep -ls 'Managed by Gatewright' *.service *.service.d/*.conf | sed 's/[.]service.*//'); "
        f"for unit in $(printf '%s\\n' $ours {UNITS} | sort -u); do "
        'systemd-analyze security --no-pager "$unit.service"; done 2>/dev/null'
    )
    return {unit: float(value) for unit, value in re.findall(r"level for (\S+)\.service: ([\d.]+)", told)}


def network_settings(host: Host) -> list[str]:
    """Return the gateway's own net.* parameters that a container may be started with, as name=value.

    The others are not of its network (net.core.bpf_jit_harden), or read-only (net.ipv4.conf.all.mc_forwarding).
    """
    wanted = re.findall(r"^(net\.\S+) = (\S+)$", host.sh("cat /etc/sysctl.d/zz-gatewright.conf"), re.M)
    may_be_set = set(host.sh("find /proc/sys/net -type f -perm -200").split())
    return [f"{name}={value}" for name, value in wanted if f"/proc/sys/{name.replace('.', '/')}" in may_be_set]


def sockets(host: Host) -> list[str]:
    """Return the sockets that listen off the loopback address, as protocol/port."""
    rows = (line.split() for line in host.sh("ss -Hltun").splitlines())
    far = [row for row in rows if len(row) > 4 and not re.match(r"127\.|\[::1\]", row[4])]
    return sorted({f"{row[0]}/{row[4].rpartition(':')[2]}" for row in far})


def measure(host: Host, profiles: Sequence[str] = PROFILES) -> Figures:
    """Read everything off a host, with some of OpenSCAP's profiles. ssh-audit comes last: sshd may shut it out."""
    index, warnings, suggestions = lynis(host)
    found = {profile: openscap(host, profile) for profile in profiles}
    return Figures(
        lynis=index,
        warnings=warnings,
        suggestions=suggestions,
        openscap={profile: (len(passed), len(failed)) for profile, (passed, failed) in found.items()},
        exposure=exposure(host),
        sockets=sockets(host),
        set_id=host.sh(f"find / -xdev -path {INSIDE} -prune -o -type f -perm /6000 -print").split(),
        failed_units=re.findall(
            r"\S+\.(?:service|socket|timer|mount)", host.sh("systemctl --failed --plain --no-legend")
        ),
        packages=len(host.sh("dpkg-query -W -f '${Package}\n'").split()),
        ssh_audit=ssh_audit(host),
        passed_rules={profile: passed for profile, (passed, _) in found.items()},
        failed_rules={profile: failed for profile, (_, failed) in found.items()},
    )
