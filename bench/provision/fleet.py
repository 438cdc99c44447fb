"""python3 -m bench.provision.fleet: what the fleet's plays and commands cost by number of gateways and forks.

One gateway is built, and its container copied: the copies get names and addresses of their own, and one run of
site.yml. Each play and command runs against one of them, then against more. Seconds are of the clock, with the
gateways on the same processors as the controller; CPU is the controller's alone (ansible and its ssh).

It looks for enough memory first. As root it raises the kernel's limit of inotify instances while it runs, if the
hosts need more, and sets it back at the end.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.plays import SITE, bare_tasks, fresh_gateway, play, without_filters
from bench.provision.room import check_memory, inotify_for
from lab import hosts
from lab.__main__ import prepare
from lab.machine import LabError, environment, run
from lab.topology import CACHE, PROJECT, Host, select

ORIGINAL = "gw1"
IMAGE = "localhost/gatewright-bench-fleet"
FIRST_OCTET = 101
BARE_TASKS = 20
INVENTORY = CACHE.parent / "fleet"
"""As deep in the project as inventory/lab, whose group_vars it borrows."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took: seconds of the clock, and of the controller's processors."""

    seconds: float
    cpu: float

    def __str__(self) -> str:
        """Both in words."""
        return f"{self.seconds:6.1f} s, {self.cpu:5.1f} s of CPU"


def copies(count: int) -> list[Host]:
    """Gateways as they are called and addressed."""
    return [Host(f"copy{n}", FIRST_OCTET + n, "gateway", "trixie", "corp.test") for n in range(count)]


def build(is_built: bool) -> None:
    """Make the gateway that is copied, and an image of it."""
    if not is_built:
        fresh_gateway(ORIGINAL)
        play(SITE, ORIGINAL)
    (original,) = select([ORIGINAL])
    run("podman", "commit", "--quiet", original.container, IMAGE)
    hosts.remove(original.container)


def start(gateways: Sequence[Host], new: Sequence[Host]) -> None:
    """Boot those that are new, and have the lab's name server know all."""
    for gateway in new:
        hosts.start_from(IMAGE, gateway)
    for gateway in new:
        hosts.wait(gateway)
    (dns,) = select(["dns"])
    lines = [f"={gateway.fqdn}:{gateway.ipv4}" for gateway in gateways]
    hosts.serve_dns(dns, hosts.dns_data(list(gateways[:1])) + "\n".join(lines) + "\n")


def wait_for_calm(gateways: Sequence[Host], seconds: float = 600) -> None:
    """Wait until no integrity check renews its baseline, which reads all files of a host that was just changed."""
    deadline = time.monotonic() + seconds
    while any(is_renewing(gateway) for gateway in gateways):
        if time.monotonic() > deadline:
            raise LabError(f"baselines were not renewed within {seconds:.0f} s")
        time.sleep(2)


def is_renewing(gateway: Host) -> bool:
    """Whether the integrity check is at work."""
    said = hosts.execute(gateway, "systemctl", "is-active", "aiderenew.service", check=False)
    return said.strip() in ("active", "activating")


def write_inventory(gateways: Sequence[Host]) -> None:
    """The copies as an inventory, with the variables of the lab's."""
    INVENTORY.mkdir(exist_ok=True)
    variables = INVENTORY / "group_vars"
    variables.unlink(missing_ok=True)
    variables.symlink_to(PROJECT / "inventory/lab/group_vars")
    listed = {gateway.name: {"lab_octet": gateway.octet} for gateway in gateways}
    text = yaml.safe_dump({"lab": {"children": {"gateways": {"hosts": listed}}}})
    (INVENTORY / "hosts.yml").write_text(text)


def measured(
    command: Sequence[str], statuses: Sequence[int] = (0,), settings: Mapping[str, str] = {}
) -> tuple[Cost, str]:
    """Run a command, with Ansible's settings as variables; raise LabError with its last words when it fails."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    own = {**environment(), **settings}
    done = subprocess.run(command, cwd=PROJECT, env=own, capture_output=True, text=True, check=False)
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in statuses:
        raise LabError(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(seconds, cpu), done.stdout


def playbook(path: Path, forks: int, gateways: Sequence[Host], *options: str, **settings: str) -> tuple[Cost, int]:
    """Run a playbook against copies; what it cost, and how much it changed."""
    command = [
        "ansible-playbook",
        "-i",
        str(INVENTORY / "hosts.yml"),
        "--forks",
        str(forks),
        "--limit",
        limit(gateways),
    ]
    cost, said = measured([*command, *options, str(path)], settings=settings)
    return cost, sum(int(number) for number in re.findall(r"changed=(\d+)", said))


def limit(gateways: Sequence[Host]) -> str:
    """Copies as --limit has them."""
    return ",".join(gateway.name for gateway in gateways)


def command_of(verb: Sequence[str], gateways: Sequence[Host]) -> list[str]:
    """A command of gw against copies."""
    place = ["-i", str(INVENTORY / "hosts.yml"), "--limit", limit(gateways)]
    return [sys.executable, "-m", "gatewright.fleet", *verb, *place]


COMMANDS = (("status",), ("queue", "list"), ("quarantine", "list"), ("trace", "--since", "1d"))


def measure(gateways: Sequence[Host], forks: Sequence[int]) -> None:
    """Print a line a run; fewer forks than the last are tried with several gateways only."""
    count, most = len(gateways), forks[-1]
    unchanged(gateways, most)
    bare(gateways, most)
    told("site.yml --tags tcp_smtp", count, most, playbook(SITE, most, gateways, "--tags", "tcp_smtp")[0])
    told("outbreak.yml", count, most, playbook(PROJECT / "playbooks/outbreak.yml", most, gateways)[0])
    for verb in COMMANDS:
        told(f"gw {' '.join(verb)}", count, most, measured(command_of(verb, gateways), (0, 1))[0])
    for number in forks[:-1] if count > 1 else ():
        unchanged(gateways, number)


def unchanged(gateways: Sequence[Host], forks: int) -> None:
    """A run that finds all as it is to be."""
    cost, changed = playbook(SITE, forks, gateways)
    told(f"site.yml, nothing to change ({changed} changed)", len(gateways), forks, cost)


def bare(gateways: Sequence[Host], forks: int) -> None:
    """What Ansible itself takes for some tasks that do nothing."""
    with tempfile.TemporaryDirectory(prefix="gatewright-bench-") as directory:
        place = Path(directory)
        cost, _ = playbook(bare_tasks(BARE_TASKS, place), forks, gateways, **without_filters(place))
    told(f"{BARE_TASKS} bare /bin/true tasks", len(gateways), forks, cost)


def told(name: str, count: int, forks: int, cost: Cost) -> None:
    """Print a figure."""
    print(f"{name:50} {count:3} gateways, {forks:3} forks: {cost}", flush=True)


def memory(gateway: Host) -> str:
    """What a booted copy uses, as podman says."""
    return run("podman", "stats", "--no-stream", "--format", "{{.MemUsage}}", gateway.container).strip()


def rehearse(gateways: Sequence[Host], is_built: bool, counts: Sequence[int], forks: Sequence[int]) -> None:
    """Build one, then for each count copy it as often as that needs, name the copies, and measure."""
    build(is_built)
    write_inventory(gateways)
    named = 0
    for count in sorted(counts):
        new = gateways[named:count]
        start(gateways[:count], new)
        print(f"a gateway at rest: {memory(gateways[0])}", flush=True)
        told("site.yml, a name of its own", len(new), 20, playbook(SITE, 20, new)[0])
        wait_for_calm(new)
        named = count
        measure(gateways[:count], forks)


def main() -> int:
    """Measure, print, and take the lab down again."""
    parser = argparse.ArgumentParser(prog="bench.provision.fleet", description=__doc__)
    parser.add_argument("--gateways", type=int, nargs="+", default=[1, 10], help="how many at once, one after another")
    parser.add_argument("--forks", type=int, nargs="+", default=[5, 20], help="forks of site.yml; others have the last")
    parser.add_argument("--built", action="store_true", help="this lab's gw1 is a gateway already")
    options = parser.parse_args()
    os.environ.pop("ANSIBLE_FORKS", None)
    gateways = copies(max(options.gateways))
    try:
        check_memory(len(gateways), max(options.forks))
        prepare()
        with inotify_for(len(gateways)):
            try:
                rehearse(gateways, options.built, options.gateways, options.forks)
            finally:
                hosts.down()
                run("podman", "rmi", "--force", "--ignore", IMAGE)
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
