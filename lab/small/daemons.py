"""Our own programs of a small gateway: the scanner, gatekeeper, gatepost and its signer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewright.chapters.scanner.rules import scanner_domains, scanner_rules
from lab.small.place import Place, system_python, wait_until
from lab.topology import PROJECT

SCANNER = PROJECT / "roles/scanner/files"
GATEPOST = PROJECT / "roles/gatepost/files"
GATEKEEPER = PROJECT / "roles/gatekeeper/files"
DELIVERIES = "var/log/gatepost/deliveries.jsonl"
SIGNER, KEYS = "signer/socket", "signer/keys"
COMMANDS = ("gatescan", "gatepost")


def make_client(place: Place, home: Path) -> Path:
    """Build the scanner's queue client; returns its path."""
    source, out = place.folder("client"), place.folder("bin")
    _copy_files(SCANNER / "client", source)
    state = f"{place.path}/scanner"
    paths = (f"SOCKET={state}/socket", f"NEXT={home}/bin/qmail-queue", f"SPOOL={state}/spool/incoming")
    place.run("make", "-s", f"OUT={out}", *paths, cwd=source)
    return out / "gatescan-queue"


def start_scanner(place: Place, home: Path, hostname: str, variables: Mapping[str, Any]) -> None:
    """Start the scanner with the rules of the inventory's variables."""
    state, log = place.folder("scanner"), place.folder("var/log/gatescan")
    _copy_code(place, SCANNER / "gatescan")
    boxes = (f"quarantine/{box}" for box in ("tmp", "new", "cur"))
    spools = (f"spool/{name}" for name in ("notices", "asked", "incoming"))
    for name in ("spool", *spools, "quarantine", *boxes, "lib", "lib/counters"):
        place.folder(f"scanner/{name}")
    paper = (SCANNER / "gatescan/share/quarantine-attachments.txt").read_text()
    (state / "rules.txt").write_text(paper + scanner_rules(variables.get("scanner_extra_rules", [])))
    config = _scanner_config(state, log, home, variables) | {"hostname": hostname}
    (state / "config.json").write_text(json.dumps(config, indent=1))
    run(place, "gatescan", "rules", "build")
    place.start("gatescan/daemon", system_python(), "-m", "gatescan", "daemon", env=_environment(place))
    wait_until((state / "socket").is_socket, "the scanner's socket", lambda: place.said("gatescan/daemon"))


def run(place: Place, command: str, *words: str) -> str:
    """Run one of COMMANDS as an administrator would; returns what it prints."""
    keys = ("--keys", place.path / KEYS) if command == "gatepost" else ()
    return place.run(system_python(), "-m", command, *words, *keys, env=_environment(place))


def start_gatepost(place: Place, home: Path, settings: Mapping[str, Any]) -> Path:
    """Start the delivery agent; returns the folder of its client, which stands in qmail-remote's place."""
    state, source, agent = (place.folder(f"gatepost{name}") for name in ("", "/client", "/remote"))
    place.folder(str(Path(DELIVERIES).parent))
    _copy_files(GATEPOST / "client", source)
    place.run("make", "-s", f"OUT={agent}", f"SOCKET={state}/socket", cwd=source)
    (agent / "gatepost-remote").rename(agent / "qmail-remote")
    config = {
        "home": str(home),
        "socket": str(state / "socket"),
        "takes_loopback": True,
        "journal": str(place.path / DELIVERIES),
        "signer": str(place.path / SIGNER),
        **settings,
    }
    _start_daemon(place, GATEPOST / "gatepost", config, state / "socket")
    return agent


def start_signer(place: Place, domain: str) -> None:
    """Start gatepost's signer, with a new key for a domain."""
    socket_path, keys = place.path / SIGNER, place.path / KEYS
    place.folder(str(Path(SIGNER).parent))
    place.folder(KEYS)
    run(place, "gatepost", "dkim", "make", domain, "small", "rsa")
    words = ("signer", "--socket", socket_path, "--client", str(place.account.pw_uid), "--keys", keys)
    place.start("gatepost/signer", system_python(), "-m", "gatepost", *words, env=_environment(place))
    wait_until(socket_path.is_socket, "the signer's socket", lambda: place.said("gatepost/signer"))


def make_certificate(place: Place, name: str) -> tuple[Path, Path]:
    """A certificate that vouches for itself, for a server of this name, and its key."""
    folder = place.folder("certificate")
    made = folder / "certificate.pem", folder / "key.pem"
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    names = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
    place.run("openssl", "req", "-x509", *key, *names, "-out", made[0], "-keyout", made[1])
    return made


def start_gatekeeper(place: Place, home: Path, recipients: Mapping[str, Any], names: int) -> dict[str, str]:
    """Start the policy daemon; returns the variables by which it is asked. names: the name server's port."""
    state = place.folder("gatekeeper")
    policy, authentication = state / "policy", state / "authentication"
    config = {
        "home": str(home),
        "socket": str(policy),
        "state": str(state / "state.sqlite"),
        "metrics": str(state / "metrics"),
        "name_server_port": names,
        "recipients": recipients,
        "authentication": True,
        "authentication_socket": str(authentication),
        "own_domains": list(recipients),
    }
    _start_daemon(place, GATEKEEPER / "gatekeeper", config, authentication)
    return {"SMTPPOLICY": str(policy), "GATESCAN_AUTH": str(authentication)}


def _start_daemon(place: Place, package: Path, config: Mapping[str, Any], socket_path: Path) -> None:
    """Start a daemon of ours from a copy of its code, and wait for its socket."""
    name, log = package.name, f"{package.name}/daemon"
    _copy_code(place, package)
    settings = place.path / name / "config.json"
    settings.write_text(json.dumps(config, indent=1))
    place.start(log, system_python(), "-m", name, "--config", settings, "daemon", env=_environment(place))
    wait_until(socket_path.is_socket, f"{name}'s socket", lambda: place.said(log))


def _environment(place: Place) -> dict[str, str]:
    settings = f"{place.path}/scanner/config.json"
    return {"PYTHONPATH": f"{place.path}/code", "PYTHONUNBUFFERED": "1", "GATESCAN_CONFIG": settings}


def _copy_code(place: Place, package: Path) -> None:
    shutil.copytree(package, place.path / "code" / package.name, ignore=shutil.ignore_patterns("__pycache__"))


def _copy_files(source: Path, target: Path) -> None:
    for path in source.iterdir():
        if path.is_file():
            shutil.copy(path, target)


def _scanner_config(state: Path, log: Path, home: Path, variables: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "local_domains": scanner_domains(variables["smtproutes_routes"]),
        "authentication": True,
        "actions": variables.get("scanner_actions", {}),
        "limits": variables.get("scanner_limits", {}),
        "release": {"enabled": bool(variables.get("scanner_release_by_mail"))},
        "spool": str(state / "spool"),
        "next_queue": [str(home / "bin/qmail-queue")],
        "daemon": {"socket": str(state / "socket"), "workers": 2},
        "quarantine": {"directory": str(state / "quarantine")},
        "rules": {"source": str(state / "rules.txt"), "compiled": str(state / "lib/rules.json")},
        "journal": {
            "quarantine_log": str(log / "quarantine.log"),
            "json_log": str(log / "messages.jsonl"),
            "metrics": str(state / "lib/gatescan.prom"),
            "counters": str(state / "lib/counters"),
        },
    }
