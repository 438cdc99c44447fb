"""How hard a gateway is, by others' tools: Lynis, OpenSCAP, ssh-audit, systemd-analyze, and what stands open.

    python3 -m bench.hardening --build [--json FILE] [--rules] [--profiles NAME,NAME] (as `make bench-hardening` does)
    python3 -m bench.hardening [...] [CONTAINER ...]
    python3 -m bench.hardening --machine gw1 [...] (a virtual machine, as `make test-vm` does)

Needs root, podman and mmdebstrap. With --build it makes the lab's gateways anew, runs site.yml twice on each, and
removes the lab at the end; else it takes a lab whose gateways are built, or other containers named on the command line.
Each is looked at in a booted copy with the lab's capabilities (NET_ADMIN beside podman's own), so that what is measured
is what survives a reboot, and the host itself does not change. Stock Debian is the image that the container started
from. In the column `gateway, net.*` the copy was started with those of its own kernel parameters that belong to its
network, which a container may not set by itself; without OpenSCAP, as it is there for Lynis, which asks for many of
them. Pass and fail counts are those of the machine view (see toolbox.py).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from bench.hardening.measures import PROFILES, Figures, Host, measure, network_settings
from bench.hardening.published import FIGURES
from bench.hardening.toolbox import NUMBER, bring
from bench.hardening.toolbox import container as inside_container
from bench.plays import SITE, Run, fresh_gateway, play
from lab import hosts, topology
from lab.__main__ import prepare
from lab.machine import LabError, run
from lab.reach import inside


@contextmanager
def booted(name: str, image: str, settings: Sequence[str] = ()) -> Iterator[Host]:
    """A host started from an image, maybe with kernel parameters, with the tools in it; gone afterwards."""
    container = re.sub(r"[^\w.-]+", "-", f"gatewright-bench-{name}")
    run("podman", "rm", "--force", "--ignore", container)
    run("podman", "run", "--detach", "--name", container, "--hostname", "bench.corp.test", "--systemd=always",
        "--cap-add=NET_ADMIN", "--dns=none", "--no-hosts", *(f"--sysctl={setting}" for setting in settings),
        image, "/sbin/init")  # a command as one types it # fmt: skip
    try:
        run("podman", "exec", container, "sh", "-c", "systemctl is-system-running --wait", check=False)
        suite = run("podman", "exec", container, "sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME").strip()
        address = run("podman", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", container).strip()
        enter = inside_container(container)
        bring(enter, suite)
        yield Host(name, enter, suite, address)
    finally:
        run("podman", "rm", "--force", "--time", "1", container)


def build(gateways: list[topology.Host]) -> dict[str, tuple[Run, ...]]:
    """Make gateways anew by two runs of site.yml each; return what these took, by container."""
    runs = {}
    for gateway in gateways:
        fresh_gateway(gateway.name)
        runs[gateway.container] = tuple(play(SITE, gateway.name) for _ in range(2))
    return runs


def subjects(containers: Iterable[str], profiles: Sequence[str]) -> Iterator[tuple[str, str, int, Figures]]:
    """Measure stock and built hosts; yield container, kind, Debian's number and figures."""
    for container in containers:
        stock = run("podman", "inspect", "--format", "{{.Image}}", container).strip()
        copy = f"localhost/gatewright-bench:{container}"
        run("podman", "commit", "--quiet", container, copy)
        try:
            with booted(f"stock {container}", stock) as host:
                yield container, "stock", NUMBER[host.suite], measure(host, profiles)
            with booted(f"gateway {container}", copy) as host:
                settings = network_settings(host)
                yield container, "gateway", NUMBER[host.suite], measure(host, profiles)
            with booted(f"gateway {container} net", copy, settings) as host:
                yield container, "gateway, net.*", NUMBER[host.suite], measure(host, [])
        finally:
            run("podman", "rmi", "--force", copy)


def machine(name: str, profiles: list[str]) -> tuple[str, int, Figures]:
    """Measure a gateway of the lab that is a virtual machine."""
    (host,) = topology.select([name])
    enter = partial(inside, host, is_interactive=True)
    bring(enter, host.suite)
    figures = measure(Host(name, enter, host.suite, host.ipv4), profiles)
    return "virtual machine", NUMBER[host.suite], figures


def turned(stock: Figures, figures: Figures) -> list[str]:
    """The rules that stock Debian passes and a gateway fails, in any profile."""
    passed = {rule for rules in stock.passed_rules.values() for rule in rules}
    return sorted({rule for rules in figures.failed_rules.values() for rule in rules} & passed)


def cells(figures: Figures, stock: Figures | None) -> dict[str, str]:
    """A column of the table: row to text."""
    column = {f"run {number} of site.yml": str(run) for number, run in enumerate(figures.runs, 1)}
    column |= {"Lynis index": str(figures.lynis), "Lynis warnings": str(figures.warnings)}
    column["Lynis suggestions"] = str(figures.suggestions)
    column |= {profile: "{}/{}".format(*counts) for profile, counts in figures.openscap.items()}
    if stock and stock is not figures and figures.openscap:
        column["passed by stock, fails now"] = str(len(turned(stock, figures)))
    column["ssh-audit"] = figures.ssh_audit
    column |= {f"exposure of {unit}": str(value) for unit, value in figures.exposure.items()}
    column["sockets off loopback"] = f"{len(figures.sockets)}: {' '.join(figures.sockets)}"
    column["set-id files"] = str(len(figures.set_id))
    column["failed units"] = f"{len(figures.failed_units)} {' '.join(figures.failed_units)}".strip()
    column["packages"] = str(figures.packages)
    return column


def show(measured: list[tuple[str, int, Figures]], rules: bool) -> None:
    """Print one table a Debian release; OpenSCAP's cells are pass/fail."""
    for number in sorted({number for _, number, _ in measured}):
        found = {kind: figures for kind, suite, figures in measured if suite == number}
        stock = found.get("stock")
        columns = {kind: cells(figures, stock) for kind, figures in found.items()}
        for name, rows in FIGURES.items() if stock else ():
            columns[f"{name} *"] = {row: values[number - 12] for row, values in rows.items()}
        print(f"\nDebian {number}   (OpenSCAP: pass/fail; * from the project's references, not measured here)")
        names = list(dict.fromkeys(row for column in columns.values() for row in column))
        widths = [max(len(kind), *(len(column.get(row, "-")) for row in names)) for kind, column in columns.items()]
        label = max(map(len, names)) + 2
        print(" " * label + "  ".join(kind.ljust(width) for kind, width in zip(columns, widths, strict=True)))
        for row in names:
            texts = (column.get(row, "-").ljust(width) for column, width in zip(columns.values(), widths, strict=True))
            print(row.ljust(label) + "  ".join(texts).rstrip())
        for figures in (figures for kind, figures in found.items() if rules and kind != "stock"):
            for profile, failed in figures.failed_rules.items():
                print(f"fails of {profile}: {' '.join(failed)}")
            if stock and figures.openscap:
                print(f"passed by stock, fails now: {' '.join(turned(stock, figures))}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python3 -m bench.hardening", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    top.add_argument("containers", nargs="*", help="built gateways; the lab's if none is named")
    top.add_argument("--json", type=Path, help="write all figures to this file")
    top.add_argument("--rules", action="store_true", help="name the rules that a gateway fails")
    top.add_argument(
        "--build", action="store_true", help="make the lab's gateways anew first, and remove the lab at the end"
    )
    top.add_argument("--machine", help="a gateway of the lab that is a virtual machine; nothing else is measured")
    top.add_argument(
        "--profiles",
        type=lambda text: text.split(","),
        help="OpenSCAP's profiles; all if not named, but none for --machine, as they take an emulated machine long",
    )
    return top


def main() -> int:
    """Measure, print, and keep the figures if asked to."""
    options = parser().parse_args()
    gateways = [host for host in topology.HOSTS if host.image == "gateway"]
    built: dict[str, tuple[Run, ...]] = {}
    try:
        if options.build:
            prepare()
            built = build(gateways)
        if options.machine:
            measured = [machine(options.machine, options.profiles or [])]
        else:
            containers = options.containers or [host.container for host in gateways]
            measured = [
                (kind, number, replace(figures, runs=built.get(container, ()) if kind == "gateway" else ()))
                for container, kind, number, figures in subjects(containers, options.profiles or PROFILES)
            ]
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        if options.build:
            hosts.down()
    show(measured, options.rules)
    if options.json:
        rows = [{"kind": kind, "debian": number, **asdict(figures)} for kind, number, figures in measured]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
