"""python3 -m bench.provision: measure provisioning on one gateway of a lab of its own; print a table with ratios."""

from __future__ import annotations

import argparse
import io
import json
import smtplib
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.plays import SITE, Run, bare_tasks, fresh_gateway, play, without_filters
from gatewright.chapters.source_build import role_files
from lab import artifacts, hosts
from lab.__main__ import bring_up, prepare
from lab.machine import LabError
from lab.topology import HOSTS, KEY, NET4, NET6, Host

FLOOR = Path(__file__).with_name("floor.sh")
GATEWAY = "gw1"
NEW_CLIENT = "198.51.100.7"


def own_sources(is_patched: bool) -> dict[str, str]:
    """Gatewright's own programs and the files that it would be padding to write anew, by their paths in the archive."""
    parts = {
        "qmail": role_files("qmail", "slots", *(["patches/notqmail-1.09"] if is_patched else [])),
        "starttls": role_files("starttls", "Makefile", "smtpd", "tls", "package"),
        "scanner": role_files("scanner", "client", "gatescan", "package"),
        "gatepost": role_files("gatepost", "client", "gatepost", "package"),
    }
    found = {f"{part}/{name}": text for part, files in parts.items() for name, text in files.items()}
    services = role_files("gatepost", "etc/gatepost/service")
    found |= {name.replace("etc/gatepost", "gatepost-etc"): text for name, text in services.items()}
    profiles = role_files("hardening", "usr/share/pam-configs")
    return found | {name.removeprefix("usr/share/"): text for name, text in profiles.items()}


def floor_archive(gateway: Host) -> bytes:
    """Everything that the hand-written script needs, as one tar archive."""
    names = ("standin-1.0.tar.gz",) if artifacts.assemble() == "standin" else ("notqmail-1.09.tar.gz",)
    dns, office = (next(host for host in HOSTS if host.name == name) for name in ("dns", "office"))
    conf = {
        "ME": gateway.fqdn,
        "NET4": NET4,
        "ROOT_SERVER": dns.ipv4,
        "OFFICE": office.ipv4,
        "ARCHIVE": names[0],
        "MIRROR": min(hosts.mirror_names([gateway])),
    }
    files = {"floor.conf": "".join(f"{name}={value}\n" for name, value in conf.items()).encode()}
    files["floor.sh"] = FLOOR.read_bytes()
    files |= {name: (artifacts.ARCHIVES / name).read_bytes() for name in names}
    files |= {name: text.encode() for name, text in own_sources(is_patched=names[0].startswith("notqmail")).items()}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755 if name.endswith(".sh") else 0o644
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def hand_written(gateway: Host) -> Run:
    """Run the hand-written script on a fresh host, over one SSH connection."""
    packed = floor_archive(gateway)
    options = ["-i", str(KEY), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    remote = "mkdir /root/floor && tar -xz -C /root/floor && sh /root/floor/floor.sh 2>&1"
    command = ["ssh", *options, "-o", "LogLevel=ERROR", f"root@{gateway.ipv4}", remote]
    started = time.monotonic()
    done = subprocess.run(command, input=packed, capture_output=True, check=False)
    if done.returncode:
        raise LabError(f"floor.sh failed ({done.returncode}):\n{done.stdout.decode()[-3000:]}")
    return Run(time.monotonic() - started)


def prove(gateway: Host) -> None:
    """Raise LabError unless the gateway takes a message for its domain and none for another's."""
    try:
        with smtplib.SMTP(gateway.ipv4, timeout=30) as client:
            client.sendmail("bench@world.test", "user@corp.test", "Subject: bench\r\n\r\nbench\r\n")
            client.mail("bench@world.test")
            code, text = client.rcpt("victim@elsewhere.test")
    except (OSError, smtplib.SMTPException) as error:
        raise LabError(f"{gateway.name} takes no mail: {error}") from error
    if code != 553:
        raise LabError(f"{gateway.name} relays for a stranger: {code} {text.decode()}")


def with_one_more_client() -> str:
    """The lab's relay clients and one more, as an extra variable."""
    clients = [{"address": f"{NET4}.16/29"}, {"address": f"{NET6}:20/126"}, {"address": NEW_CLIENT}]
    return json.dumps({"tcp_smtp_relay_clients": clients})


def measure() -> dict[str, Run]:
    """One round: every kind of run by its name, the gateway proved to work after each way of making it."""
    runs = {}
    with tempfile.TemporaryDirectory(prefix="gatewright-bench-") as directory:
        cache = ("--extra-vars", f"source_build_cache_dir={directory}/cache")

        def note(name: str, run: Callable[[], Run]) -> None:
            runs[name] = run()
            print(f"{name}: {runs[name].seconds:.1f} s", flush=True)

        gateway = fresh_gateway(GATEWAY)
        note("script", lambda: hand_written(gateway))
        prove(gateway)
        fresh_gateway(GATEWAY)
        note("first", lambda: play(SITE, GATEWAY, *cache))
        prove(gateway)
        note("no change", lambda: play(SITE, GATEWAY, *cache))
        extra = ("--extra-vars", with_one_more_client())
        note("relay client", lambda: play(SITE, GATEWAY, *cache, "--tags", "tcp_smtp", *extra))
        bare = without_filters(Path(directory))
        note("bare", lambda: play(bare_tasks(runs["no change"].tasks, Path(directory)), GATEWAY, **bare))
        note("one bare", lambda: play(bare_tasks(1, Path(directory)), GATEWAY, **bare))
        fresh_gateway(GATEWAY)
        note("first, built before", lambda: play(SITE, GATEWAY, *cache))
    return runs


def best(rounds: list[dict[str, Run]]) -> dict[str, Run]:
    """Of each kind of run the quickest: the one that the machine's other work disturbed least."""
    return {name: min((found[name] for found in rounds), key=lambda run: run.seconds) for name in rounds[0]}


RELAY_SHARE = 0.1
"""Of a no-change run: what adding a relay client may take beyond the single task that Ansible needs for anything."""


def table(runs: dict[str, Run]) -> str:
    """The runs beside what each is measured against, and the aim."""
    most = RELAY_SHARE * runs["no change"].seconds + runs["one bare"].seconds
    rows = [
        ("hand-written script", "script", "", ""),
        ("first run", "first", "script", "<= 1.5"),
        ("first run, packages built before", "first, built before", "script", ""),
        ("no-change run", "no change", "first", "<= 0.22"),
        ("as many bare /bin/true tasks", "bare", "no change", ""),
        (
            "one more relay client, --tags tcp_smtp",
            "relay client",
            "no change",
            f"<= {RELAY_SHARE} and a bare task: {most:.1f} s",
        ),
        ("a single /bin/true task: what Ansible alone takes", "one bare", "no change", ""),
    ]
    lines = [
        "| run | tasks | changed | seconds | ratio | to | aim |",
        "| --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for title, name, other, aim in rows:
        run = runs[name]
        ratio = f"{run.seconds / runs[other].seconds:.2f}" if other else ""
        lines.append(
            f"| {title} | {run.tasks or ''} | {run.changed if run.tasks else ''} | {run.seconds:.1f} | {ratio} "
            f"| {other} | {aim} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and take the lab down again."""
    parser = argparse.ArgumentParser(prog="bench.provision", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="measure so often; the quickest of each kind counts")
    options = parser.parse_args()
    try:
        prepare()
        bring_up(["dns", "office"], internal=False)  # office: where the message of a run's proof goes
        rounds = [measure() for _ in range(options.rounds)]
        if rounds[0]["relay client"].changed != 2:  # tcpserver's rules, and whom the firewall's limits exempt
            raise LabError("adding a relay client changed something else, or nothing")
        print(table(best(rounds)))
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        hosts.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
