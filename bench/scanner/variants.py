"""Who is measured: bare qmail, a wrapper that does nothing, Gatewright (once without its fence, and twice with
gatekeeper), and Debian's amavisd-new and rspamd (once with SPF, DKIM and DMARC, as gatekeeper has them).

Each accepts SMTP on a port of its own and ends in the same qmail-queue. amavisd-new is a proxy in front of bare
qmail, as it would be with qmail; rspamd is asked by a small queue program. Both run with checks like ours: names
and types of attachments and of what is in archives; no antivirus, no spam rules, no network.

gatekeeper knows a thousand recipients. With "client" the sender is a relay client, whose messages and recipients are
counted; with "stranger" SPF, DKIM and DMARC are looked at, of names that the bench itself answers for.
"""

from __future__ import annotations

import grp
import http.client
import json
import os
import pwd
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.scanner import corpus
from bench.scanner.accounting import Group
from bench.scanner.qmail import DAEMON, HOME, SCANNER, Qmail
from bench.scanner.site import SENDER
from bench.scanner.waiting import listens, wait_until

HERE = Path(__file__).parent
SCANNER_FILES = HERE.parents[1] / "roles/scanner/files"
WORKERS = 4
UNFENCED = "without fence"
DOOR = HERE.parents[1] / "roles/gatekeeper/files"
RECIPIENTS = 1000
FIRST_PORT = 2525
_DISABLED_IN_RSPAMD = """\
antivirus arc asn clickhouse dkim_signing fuzzy_check greylist history_redis hfilter mid neural once_received phishing
ratelimit rbl replies url_redirector
"""
_OF_SENDERS = ("spf", "dkim", "dmarc")
"""Modules of rspamd that say who mail is from, and what they say of the bench's."""
_PROVEN = ("R_SPF_ALLOW", "R_DKIM_ALLOW", "DMARC_POLICY_ALLOW")


@dataclass(frozen=True)
class Variant:
    """One way to accept mail: `front` counts qmail's processes, `service` those of its daemon, if there is one."""

    name: str
    port: int
    front: Group
    service: Group

    @property
    def cpu(self) -> float:
        """Seconds of CPU time used so far, all in all."""
        return self.front.cpu + self.service.cpu

    def end(self) -> None:
        """End all of it."""
        self.front.end()
        self.service.end()


Start = Callable[[Qmail, Variant], None]


def _bare(qmail: Qmail, variant: Variant) -> None:
    qmail.serve(variant.port, variant.front, {})


def _noop(qmail: Qmail, variant: Variant) -> None:
    program = qmail.compile(HERE / "noop-queue.c", NEXT=f'"{HOME}/bin/qmail-queue"')
    qmail.serve(variant.port, variant.front, {"QMAILQUEUE": str(program)})


def _place(name: str, user: str) -> Path:
    """A directory that belongs to a user."""
    path = HOME / name
    path.mkdir()
    shutil.chown(path, user)
    return path


def _spawn(command: list[str], group: Group, user: str | None = None, env: Mapping[str, str] | None = None) -> None:
    """Start a daemon in a group, as a user with nothing but his own group; what it says goes to our errors."""
    account = pwd.getpwnam(user) if user else None

    def enter_as_user() -> None:
        group.enter()
        if account:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)

    subprocess.Popen(
        command,
        preexec_fn=enter_as_user,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr if "BENCH_VERBOSE" in os.environ else subprocess.DEVNULL,
        cwd="/",
    )


def start_scanner(
    qmail: Qmail, variant: Variant, is_confined: bool = True, door: Mapping[str, str] | None = None
) -> None:
    """Start the scanner, and qmail in front of it; door: how gatekeeper is asked."""
    place = _place(f"gatescan-{variant.port}", SCANNER)
    code = place / "code"
    shutil.copytree(SCANNER_FILES / "gatescan", code / "gatescan", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run", "spool", "spool/incoming", "spool/notices", "quarantine", "log", "lib", "lib/counters"):
        (place / name).mkdir()
        shutil.chown(place / name, SCANNER)
    config = {
        "hostname": "bench.example",
        "authentication": "GATESCAN_AUTH" in (door or {}),
        "spool": str(place / "spool"),
        "next_queue": [str(HOME / "bin/qmail-queue")],
        "daemon": {
            "socket": str(place / "run/socket"),
            "socket_mode": "0666",
            "workers": WORKERS,
            "confined": is_confined,
        },
        "quarantine": {"directory": str(place / "quarantine")},
        "rules": {
            "source": str(code / "gatescan/share/quarantine-attachments.txt"),
            "compiled": str(place / "lib/rules.json"),
        },
        "journal": {
            "quarantine_log": str(place / "log/quarantine.log"),
            "json_log": str(place / "log/messages.jsonl"),
            "metrics": str(place / "lib/gatescan.prom"),
            "counters": str(place / "lib/counters"),
        },
    }
    (place / "config.json").write_text(json.dumps(config))
    command = ["/usr/bin/python3", "-m", "gatescan"]
    env = {"PYTHONPATH": str(code), "GATESCAN_CONFIG": str(place / "config.json"), "PATH": "/usr/bin:/bin"}
    subprocess.run(
        [*command, "rules", "build"], env=env, user=SCANNER, extra_groups=[], check=True, stdout=subprocess.DEVNULL
    )
    _spawn([*command, "daemon"], variant.service, SCANNER, env)
    wait_until((place / "run/socket").is_socket, "the scanner's socket")
    client = qmail.make(SCANNER_FILES / "client", "gatescan-queue", NEXT=f"{HOME}/bin/qmail-queue")
    incoming = place / "spool/incoming"
    incoming.chmod(0o1733)
    front = {"QMAILQUEUE": str(client), "GATESCAN_SOCKET": str(place / "run/socket"), "GATESCAN_SPOOL": str(incoming)}
    qmail.serve(variant.port, variant.front, {**front, **(door or {})})


def _unfenced(qmail: Qmail, variant: Variant) -> None:
    """Ours without seccomp and Landlock, to see what these cost."""
    start_scanner(qmail, variant, is_confined=False)


def _client(qmail: Qmail, variant: Variant) -> None:
    """Ours behind gatekeeper: a relay client's recipients are known, and what it sends is counted."""
    start_scanner(qmail, variant, door={"RELAYCLIENT": "", "SMTPPOLICY": start_door(qmail, variant)[0]})


def _stranger(qmail: Qmail, variant: Variant) -> None:
    """Ours behind gatekeeper: a stranger's recipients are known, and it is asked who his mail is from."""
    policy, authentication = start_door(qmail, variant)
    start_scanner(qmail, variant, door={"SMTPPOLICY": policy, "GATESCAN_AUTH": authentication})


def start_door(qmail: Qmail, variant: Variant, **settings: object) -> tuple[str, str]:
    """Start gatekeeper, with all that a variant may ask of it, unless settings say otherwise; returns its sockets."""
    place = _place(f"gatekeeper-{variant.port}", DAEMON)
    sockets = str(place / "policy"), str(place / "authentication")
    shutil.copytree(DOOR / "gatekeeper", place / "gatekeeper", ignore=shutil.ignore_patterns("__pycache__"))
    much = {"minute": 10**6, "day": 10**9}
    config = {
        "home": str(HOME),
        "socket": sockets[0],
        "state": str(place / "state.sqlite"),
        "metrics": str(place / "metrics"),
        "name_server_port": qmail.site.port,
        "recipients": {"bench.example": {"list": ["sink", *(f"user{number}" for number in range(1, RECIPIENTS))]}},
        "limits": {who: {"messages": much, "recipients": much} for who in ("client", "sender")},
        "authentication": True,
        "authentication_socket": sockets[1],
        "own_domains": ["bench.example"],
        **settings,
    }
    (place / "config.json").write_text(json.dumps(config))
    command = ["/usr/bin/python3", "-m", "gatekeeper", "--config", str(place / "config.json"), "daemon"]
    _spawn(command, variant.service, DAEMON, {"PYTHONPATH": str(place)})
    wait_until(Path(sockets[1]).is_socket, "gatekeeper's sockets")
    return sockets


def _amavis(qmail: Qmail, variant: Variant) -> None:
    place = _place("amavis", "amavis")
    inner = variant.port + 100
    qmail.serve(inner, variant.front, {})
    config = HOME / "amavisd.conf"  # not in a place that amavis itself could write to
    config.write_text(AMAVIS_CONFIG.format(place=place, workers=WORKERS, port=variant.port, inner=inner))
    for name in ("tmp", "db", "quarantine"):
        (place / name).mkdir()
        shutil.chown(place / name, "amavis", "amavis")
    _spawn([_found("amavisd", "amavisd-new"), "-c", str(config), "foreground"], variant.service)
    wait_until(lambda: listens(variant.port), "amavisd")


AMAVIS_CONFIG = r"""
use strict;
$max_servers = {workers}; $max_requests = 1000; $child_timeout = 300;
$daemon_user = 'amavis'; $daemon_group = 'amavis';
$MYHOME = '{place}'; $TEMPBASE = "$MYHOME/tmp"; $db_home = "$MYHOME/db"; $QUARANTINEDIR = "$MYHOME/quarantine";
$pid_file = "$MYHOME/amavisd.pid"; $lock_file = "$MYHOME/amavisd.lock"; $enable_db = 0;
$mydomain = 'bench.example'; $myhostname = 'mail.bench.example';
$inet_socket_port = {port}; $inet_socket_bind = '127.0.0.1'; @inet_acl = qw(127.0.0.1);
$forward_method = 'smtp:[127.0.0.1]:{inner}'; $notify_method = $forward_method;
$path = '/usr/sbin:/usr/bin:/sbin:/bin'; $file = 'file';
$log_level = 0; $do_syslog = 0; $LOGFILE = '/dev/null';
@bypass_spam_checks_maps = (1); @bypass_virus_checks_maps = (1);
$MAXLEVELS = 14; $MAXFILES = 3000; $enable_dkim_verification = 0;
$final_banned_destiny = D_DISCARD; $warnbannedsender = 0;
$banned_filename_re = new_RE(
  qr'^\.(exe-ms|dll)$', qr'\.(exe|com|vbs|vba|shs|scr|bat|btm|reg|msi|msc|chm|inf|cpl|wsf|vbe|jse?|pif|lnk|hta)$'i);
@decoders = (
  ['mail', \&do_mime_decode], ['zip', \&do_unzip], ['gz', \&do_uncompress, 'gzip -d'], ['tnef', \&do_tnef],
  ['tar', \&do_pax_cpio, ['pax', 'gcpio', 'cpio']], [['7z','rar','cab'], \&do_7zip, ['7zr', '7za', '7z']]);
1;
"""


def _rspamd(qmail: Qmail, variant: Variant, asks: bool = False) -> None:
    """asks: who mail is from; else it has no name server."""
    place = _place(f"rspamd-{variant.port}", "_rspamd")
    own = variant.port + 100
    local = place / "local.d"
    local.mkdir()
    name_server = f'nameserver = ["127.0.0.1:{qmail.site.port if asks else 1}"]; timeout = {5 if asks else 0.05}s;'
    of_senders = "check_local = true;\n" if asks else "enabled = false;\n"  # all here is local
    files = {
        "options.inc": f'pidfile = "{place}/rspamd.pid"; dns {{ {name_server} }}\n',
        "logging.inc": 'type = "console"; level = "error";\n',
        "worker-normal.inc": f'bind_socket = "127.0.0.1:{own}"; count = {WORKERS};\n',
        "worker-controller.inc": "enabled = false;\n",
        "worker-proxy.inc": "enabled = false;\n",
        "worker-fuzzy.inc": "enabled = false;\n",
        "redis.conf": "",
        **{f"{module}.conf": "enabled = false;\n" for module in _DISABLED_IN_RSPAMD.split()},
        **{f"{module}.conf": of_senders for module in _OF_SENDERS},
    }
    for name, text in files.items():
        (local / name).write_text(text)
    variables = {"LOCAL_CONFDIR": place, "DBDIR": place, "RUNDIR": place, "LOGDIR": place}
    options = [f"--var={name}={value}" for name, value in variables.items()]
    command = [_found("rspamd"), "-f", "-c", "/etc/rspamd/rspamd.conf", "-u", "_rspamd", "-g", "_rspamd", *options]
    _spawn(command, variant.service)
    wait_until(lambda: listens(own), "rspamd")
    if asks:
        _see_that_it_knows(own, qmail.site.signed([corpus.plain(random.Random(1), 100).as_bytes()])[0])
    program = qmail.compile(HERE / "rspamd-queue.c", NEXT=f'"{HOME}/bin/qmail-queue"')
    qmail.serve(variant.port, variant.front, {"QMAILQUEUE": str(program), "RSPAMD_PORT": str(own)})


def _rspamd_stranger(qmail: Qmail, variant: Variant) -> None:
    """rspamd that says of a stranger's mail who it is from, too."""
    _rspamd(qmail, variant, asks=True)


def _see_that_it_knows(port: int, message: bytes) -> None:
    """Missing, unless an rspamd says of a message that it is from whom it says it is."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    told = {"IP": "127.0.1.1", "Helo": "bench.example", "From": f"a@{SENDER}", "Rcpt": "sink@bench.example"}
    asked.request("POST", "/checkv2", message, told)
    symbols = json.loads(asked.getresponse().read())["symbols"]
    asked.close()
    if unproven := set(_PROVEN) - symbols.keys():
        raise Missing(f"it says nothing of {', '.join(sorted(unproven))}")


def _found(*names: str) -> str:
    path = next((path for name in names if (path := shutil.which(name, path="/usr/sbin:/usr/bin"))), None)
    if path is None:
        raise Missing(f"{names[0]} is not installed")
    return path


def _user(name: str) -> None:
    try:
        pwd.getpwnam(name)
        grp.getgrnam(name)
    except KeyError:
        raise Missing(f"no user {name}: its package is not installed") from None


class Missing(Exception):
    """This variant cannot be measured here; the text says why."""


@dataclass(frozen=True)
class Kind:
    """How a variant is started, and what must be installed for it."""

    name: str
    start: Start
    user: str = ""
    programs: tuple[str, ...] = ()


KINDS = (
    Kind("bare qmail", _bare),
    Kind("no-op wrapper", _noop),
    Kind("Gatewright", start_scanner),
    Kind(UNFENCED, _unfenced),
    Kind("gatekeeper: client", _client),
    Kind("gatekeeper: stranger", _stranger),
    Kind("rspamd", _rspamd, "_rspamd", ("rspamd",)),
    Kind("rspamd: stranger", _rspamd_stranger, "_rspamd", ("rspamd",)),
    Kind("amavisd-new", _amavis, "amavis", ("amavisd", "amavisd-new")),
)


def start(qmail: Qmail, kind: Kind, number: int) -> Variant:
    """Start one; raise Missing if it is not installed."""
    if kind.programs:
        _found(*kind.programs)
        _user(kind.user)
    label = kind.name.replace(" ", "-")
    variant = Variant(kind.name, FIRST_PORT + number, Group(f"{label}-front"), Group(f"{label}-service"))
    try:
        kind.start(qmail, variant)
    except BaseException:
        variant.end()
        raise
    return variant
