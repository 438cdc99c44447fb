"""How hard a gateway is, by others' tools: Lynis, OpenSCAP, ssh-audit, systemd-analyze, and what stands open.

    python3 -m bench.hardening [--json FILE] [--rules] [CONTAINER ...]
    python3 -m bench.hardening --machine gw1 [--profiles NAME,NAME] (a virtual machine, as `make test-vm` does)

Needs root, podman, mmdebstrap, and a lab whose gateways are built (`make lab` and the site playbook), or other
containers named on the command line. Each is looked at in a booted copy with the lab's capabilities (NET_ADMIN beside
podman's own), so that what is measured is what survives a reboot, and the host itself does not change. Stock Debian is
the image that the container started from. Pass and fail counts are those of the machine view (see toolbox.py).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from bench.hardening.measures import Figures, Host, measure
from bench.hardening.published import FIGURES
from bench.hardening.toolbox import NUMBER, bring
from bench.hardening.toolbox import container as inside_container
from lab.machine import run
from lab.reach import inside
from lab.topology import HOSTS, select


@contextmanager
def booted(name: str, image: str) -> Iterator[Host]:
    """A host started from an image, with the tools in it; gone afterwards."""
    container = f"gatewright-bench-{name.replace(' ', '-')}"
    run("podman", "rm", "--force", "--ignore", container)
    run("podman", "run", "--detach", "--name", container, "--hostname", "bench.corp.test", "--systemd=always",
        "--cap-add=NET_ADMIN", "--dns=none", "--no-hosts", image, "/sbin/init")  # fmt: skip
    try:
        run("podman", "exec", container, "sh", "-c", "systemctl is-system-running --wait", check=False)
        suite = run("podman", "exec", container, "sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME").strip()
        address = run("podman", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", container).strip()
        enter = inside_container(container)
        bring(enter, suite)
        yield Host(name, enter, suite, address)
    finally:
        run("podman", "rm", "--force", "--time", "1", container)


def subjects(containers: list[str]) -> Iterator[tuple[str, int, Figures]]:
    """Measure stock and built hosts; yield kind, Debian's number and figures."""
    for container in containers:
        stock = run("podman", "inspect", "--format", "{{.Image}}", container).strip()
        copy = f"localhost/gatewright-bench:{container}"
        run("podman", "commit", "--quiet", container, copy)
        try:
            for kind, image in (("stock", stock), ("gateway", copy)):
                with booted(f"{kind} {container}", image) as host:
                    yield kind, NUMBER[host.suite], measure(host)
        finally:
            run("podman", "rmi", "--force", copy)


def machine(name: str, profiles: list[str]) -> tuple[str, int, Figures]:
    """Measure a gateway of the lab that is a virtual machine."""
    (host,) = select([name])
    enter = partial(inside, host, is_interactive=True)
    bring(enter, host.suite)
    figures = measure(Host(name, enter, host.suite, host.ipv4), profiles)
    return "virtual machine", NUMBER[host.suite], figures


def cells(figures: Figures) -> dict[str, str]:
    """A column of the table: row to text."""
    column = {"Lynis index": str(figures.lynis), "Lynis warnings": str(figures.warnings)}
    column["Lynis suggestions"] = str(figures.suggestions)
    column |= {profile: "{}/{}".format(*counts) for profile, counts in figures.openscap.items()}
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
        columns = {kind: cells(figures) for kind, suite, figures in measured if suite == number}
        for name, rows in FIGURES.items() if "stock" in columns else ():
            columns[f"{name} *"] = {row: values[number - 12] for row, values in rows.items()}
        print(f"\nDebian {number}   (OpenSCAP: pass/fail; * from the project's references, not measured here)")
        names = list(dict.fromkeys(row for column in columns.values() for row in column))
        widths = [max(len(kind), *(len(column.get(row, "-")) for row in names)) for kind, column in columns.items()]
        print(" " * 26 + "  ".join(kind.ljust(width) for kind, width in zip(columns, widths, strict=True)))
        for row in names:
            texts = (column.get(row, "-").ljust(width) for column, width in zip(columns.values(), widths, strict=True))
            print(row.ljust(26) + "  ".join(texts).rstrip())
        for _, _, figures in (item for item in measured if rules and item[0] != "stock" and item[1] == number):
            for profile, failed in figures.failed_rules.items():
                print(f"fails of {profile}: {' '.join(failed)}")


def main() -> None:
    """Measure, print, and keep the figures if asked to."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench.hardening", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("containers", nargs="*", help="built gateways; the lab's if none is named")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--rules", action="store_true", help="name the rules that a gateway fails")
    parser.add_argument("--machine", help="a gateway of the lab that is a virtual machine; nothing else is measured")
    parser.add_argument(
        "--profiles", type=lambda text: text.split(","), default=[],
        help="OpenSCAP's profiles for --machine; none if not named, as they take an emulated machine long",
    )  # fmt: skip
    options = parser.parse_args()
    lab_gateways = [host.container for host in HOSTS if host.image == "gateway"]
    measured = (
        [machine(options.machine, options.profiles)]
        if options.machine
        else list(subjects(options.containers or lab_gateways))
    )
    show(measured, options.rules)
    if options.json:
        rows = [{"kind": kind, "debian": number, **asdict(figures)} for kind, number, figures in measured]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
