"""The lab's running hosts: made, shown and taken down again."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from lab.images import reference
from lab.machine import LabError, run
from lab.reach import inside
from lab.topology import HOSTS, NET4, NET6, NETWORK, Host

BOOT_SECONDS = 120
COLON = "\\072"
"""As tinydns' data has it inside of a field."""
SANDBOXES = ("--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined")
"""What a host's systemd needs to confine units as on a machine of its own: mount namespaces and system call filters."""


def network_exists() -> bool:
    """Whether the lab's network is there."""
    return NETWORK in run("podman", "network", "ls", "--format", "{{.Name}}").split()


def ensure_network(internal: bool) -> None:
    """Make the lab's network: two families, static addresses, no resolver of podman's own."""
    if network_exists():
        return
    options = ["--internal"] if internal else []
    run(
        "podman", "network", "create", "--disable-dns", "--ipv6", *options,
        "--subnet", f"{NET4}.0/24", "--subnet", f"{NET6}:/64", NETWORK,
    )  # an option beside its value # fmt: skip


def join_network() -> None:
    """Give this machine an address in an internal network, whose bridge podman leaves without one."""
    bridge = json.loads(run("podman", "network", "inspect", NETWORK))[0]["network_interface"]
    run("ip", "addr", "replace", f"{NET4}.1/24", "dev", bridge)
    run("ip", "-6", "addr", "replace", f"{NET6}:1/64", "dev", bridge, "nodad")


def state(host: Host) -> str:
    """The state that podman reports of a container: running, exited and so on; empty when there is none."""
    return run("podman", "inspect", "--format", "{{.State.Status}}", host.container, check=False).strip()


def runs_present_image(host: Host) -> bool:
    """Whether a host runs, and from the image that its recipe makes now."""
    image = run("podman", "inspect", "--format", "{{.ImageName}}", host.container, check=False).strip()
    return state(host) == "running" and image == reference(host)


def start(host: Host, uplink: bool = False, sandboxes: bool = False) -> None:
    """Run a host unless it runs. An uplink is podman's default network, for a host that serves an internal lab."""
    if not runs_present_image(host):
        start_from(reference(host), host, uplink, sandboxes)


def start_from(image: str, host: Host, uplink: bool = False, sandboxes: bool = False) -> None:
    """Run a host from an image, in the place of one that is there."""
    run("podman", "rm", "--force", "--ignore", host.container)
    # podman names the interfaces of several networks in any order
    network = f"{NETWORK}:ip={host.ipv4},ip6={host.ipv6},mac={host.mac},interface_name=eth0"
    run(
        "podman", "run", "--detach", "--name", host.container, "--hostname", host.fqdn,
        "--network", network, *(["--network", "podman:interface_name=eth1"] if uplink else []),
        "--systemd=always", "--restart=always", "--dns=none", "--no-hosts",
        *(f"--cap-add={capability}" for capability in host.capabilities), *(SANDBOXES if sandboxes else ()),
        image, "/sbin/init",
    )  # an option beside its value # fmt: skip


def wait(host: Host) -> None:
    """Wait until a host has booted; raise LabError with its failed units when it does not."""
    deadline = time.monotonic() + BOOT_SECONDS
    status = ""
    while time.monotonic() < deadline:
        status = execute(host, "systemctl", "is-system-running", check=False).strip()
        if status in ("running", "degraded"):
            return
        time.sleep(0.5)
    failed = execute(host, "systemctl", "--failed", "--plain", "--no-legend", check=False)
    raise LabError(f"{host.name} did not boot within {BOOT_SECONDS} s ({status}):\n{failed}")


def execute(host: Host, *command: str, input_text: str | None = None, check: bool = True) -> str:
    """Run a program inside a host and return its output."""
    return run(*inside(host, *command, is_interactive=input_text is not None), input_text=input_text, check=check)


def add_addresses(host: Host) -> None:
    """Give a host its further addresses in both families."""
    for octet in host.extra:
        execute(host, "ip", "addr", "replace", f"{NET4}.{octet}/24", "dev", "eth0")
        execute(host, "ip", "-6", "addr", "replace", f"{NET6}:{octet}/64", "dev", "eth0", "nodad")


def mirror_names(gateways: list[Host]) -> set[str]:
    """The names of the package mirrors that the gateways' own sources point to."""
    text = "".join(execute(host, "cat", "/etc/apt/sources.list") for host in gateways)
    return set(re.findall(r"https?://([^/:\s]+)", text))


def addresses(name: str) -> list[str]:
    """The IPv4 addresses of a name as this machine resolves it."""
    try:
        found = socket.getaddrinfo(name, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(item[4][0]) for item in found})


def dns_data(gateways: list[Host]) -> str:
    """tinydns' data: a private root, the lab's domains with their MX records, and the mirrors' names.

    IPv6 addresses are written as raw records of type 28 (AAAA), as plain tinydns has no line for them.
    """
    dns = next(host for host in HOSTS if host.name == "dns")
    lines = [f".:{dns.ipv4}:a.root.test"]
    lines += [f".{zone}:{dns.ipv4}:a.ns.{zone}" for zone in ("lab.test", "corp.test", "world.test", "in-addr.arpa")]
    for host in HOSTS:
        packed = "".join(f"\\{byte:03o}" for byte in socket.inet_pton(socket.AF_INET6, host.ipv6))
        lines += [f"={host.fqdn}:{host.ipv4}", f":{host.fqdn}:28:{packed}"]
    lines += [f"@corp.test::{host.fqdn}:10" for host in HOSTS if host.image == "gateway"]
    lines += ["@world.test::outside.world.test:10"]
    lines += [f"+{name}:{address}" for name in sorted(mirror_names(gateways)) for address in addresses(name)]
    return "\n".join(lines) + "\n"


def text_records(records: Mapping[str, str]) -> str:
    """TXT records by their names, as tinydns' data has them."""
    return "".join(f"'{name}:{text.replace(':', COLON)}\n" for name, text in records.items())


def serve_dns(host: Host, data: str) -> None:
    """Put the data into the lab's name server."""
    write = "cat > /etc/tinydns/root/data && cd /etc/tinydns/root && tinydns-data && systemctl start lab-tinydns"
    execute(host, "sh", "-c", write, input_text=data)


def configure_mail(host: Host) -> None:
    """Tell a peer's mail server who it is and where its mail goes."""
    gateways = [item for item in HOSTS if item.image == "gateway"]
    dns = next(item for item in HOSTS if item.name == "dns")
    relay = ", ".join(f"[{item.ipv4}]:25" for item in gateways) if host.name == "office" else ""
    execute(
        host,
        "/usr/local/sbin/lab-peer",
        host.fqdn,
        host.domain,
        dns.ipv4,
        relay,
        f"{NET4}.0/24 [{NET6}:]/64 127.0.0.0/8",
    )


def up(hosts: list[Host], internal: bool = False, sandboxes: bool = False) -> None:
    """Start hosts and make them ready: booted, addressed, resolving by the lab's DNS; sandboxes are the gateways'."""
    ensure_network(internal)
    for host in hosts:
        start(host, uplink=internal and host.name == "dns", sandboxes=sandboxes and host.image == "gateway")
    if internal:
        join_network()
    for host in hosts:
        wait(host)
        add_addresses(host)
    gateways = [host for host in hosts if host.image == "gateway"]
    for host in hosts:
        if host.name == "dns":
            serve_dns(host, dns_data(gateways))
        elif host.image == "peer":
            configure_mail(host)


def remove(container: str) -> None:
    """Remove a container, also one that its restart policy is just bringing back (podman refuses that at first)."""
    for attempt in range(3):
        try:
            run("podman", "rm", "--force", "--ignore", "--time", "0", container)
            return
        except LabError:
            if attempt == 2:
                raise


def down() -> list[str]:
    """Remove this lab's hosts and network; return what was removed."""
    pattern = f"^{NETWORK}-"
    listed = json.loads(run("podman", "ps", "--all", "--format", "json", "--filter", f"name={pattern}") or "[]")
    names = sorted(item["Names"][0] for item in listed or [])
    for name in names:
        remove(name)
    if network_exists():
        run("podman", "network", "rm", "--force", NETWORK)
    return names


def logs(host: Host, directory: Path) -> None:
    """Keep a host's journal, for a look after a failure."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{host.name}.journal").write_text(execute(host, "journalctl", "--no-pager", check=False))
