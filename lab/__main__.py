"""python3 -m lab: builds, starts, shows and removes the lab."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from lab import artifacts, hosts, images, machine, offline
from lab.topology import CACHE, HOSTS, KEY, NUMBER, select


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="lab", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="build the images that are missing and start hosts")
    up.add_argument("--internal", action="store_true", help="a network with no route to the internet")
    up.add_argument("--sandboxes", action="store_true", help="gateways whose systemd may confine units with all it has")
    up.add_argument("host", nargs="*", help=f"of {', '.join(host.name for host in HOSTS)}; all when none is named")
    verbs.add_parser("images", help="build the images that are missing, and start nothing")
    verbs.add_parser("down", help="remove this lab's hosts and network (images stay)")
    verbs.add_parser("status", help="show the hosts and their addresses")
    shell = verbs.add_parser("shell", help="a shell inside a host")
    shell.add_argument("host")
    keep = verbs.add_parser("logs", help="keep the hosts' journals in a folder")
    keep.add_argument("directory")
    return top


def prepare() -> None:
    """Check the machine, and make what the lab keeps in its cache."""
    machine.check_machine()
    with machine.alone():
        machine.write_containers_conf()
        machine.choose_storage()
        machine.ensure_key(KEY)


def bring_up(names: list[str], internal: bool, sandboxes: bool = False) -> None:
    """Build images, start hosts, and say how long it took."""
    wanted = select(names)
    started = time.monotonic()
    with machine.alone():
        artifacts.assemble()
        artifacts.warn()
        images.ensure_all(wanted)
    hosts.up(wanted, internal, sandboxes)
    if internal:
        offline.furnish(wanted)
    print(
        f"lab {NUMBER}: {', '.join(host.name for host in wanted)} up in {time.monotonic() - started:.0f} s", flush=True
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        prepare()
        if options.verb == "up":
            bring_up(options.host, options.internal, options.sandboxes)
        elif options.verb == "images":
            with machine.alone():
                images.ensure_all(HOSTS)
        elif options.verb == "down":
            print("removed:", ", ".join(hosts.down()) or "nothing")
        elif options.verb == "status":
            for host in HOSTS:
                print(f"{host.name:8} {hosts.state(host) or '-':8} {host.ipv4:14} {host.ipv6:18} {host.suite}")
        elif options.verb == "logs":
            for host in HOSTS:
                if hosts.state(host) == "running":
                    hosts.logs(host, CACHE.parent / options.directory)
        else:
            (host,) = select([options.host])
            os.execvpe("podman", ["podman", "exec", "-it", host.container, "bash"], machine.environment())
    except machine.LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyError as error:
        print(f"lab: no host {error}; there are {', '.join(host.name for host in HOSTS)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
