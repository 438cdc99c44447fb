"""The small commands: what is in the queue, which hosts do not answer, what the controls say."""

from __future__ import annotations

import os
import sys
import time

from standin import auto, cdb, control, tcpto
from standin.queue import split_path

SHOWN = {
    "me": "",
    "badmailfrom": "(Default.) Any MAIL FROM is allowed.",
    "bouncefrom": "(Default.) Bounce user name is MAILER-DAEMON.",
    "bouncehost": "(Default.) Bounce host name is me.",
    "concurrencylocal": "(Default.) Local concurrency is 10.",
    "concurrencyremote": "(Default.) Remote concurrency is 20.",
    "databytes": "(Default.) SMTP DATA limit is 0 bytes.",
    "defaultdomain": "(Default.) Default domain name is me.",
    "defaulthost": "(Default.) Default host name is me.",
    "doublebouncehost": "(Default.) 2B recipient host: me.",
    "doublebounceto": "(Default.) 2B recipient user: postmaster.",
    "envnoathost": "(Default.) Presumed domain name is me.",
    "helohost": "(Default.) SMTP client HELO host name is me.",
    "idhost": "(Default.) Message-ID host name is me.",
    "locals": "(Default.) Messages for me are delivered locally.",
    "morercpthosts": "(Default.) No effect.",
    "percenthack": "(Default.) The percent hack is not allowed.",
    "queuelifetime": "(Default.) Message lifetime in the queue is 604800 seconds.",
    "rcpthosts": "(Default.) SMTP clients may send messages to any recipient.",
    "smtpgreeting": "(Default.) SMTP greeting: 220 me.",
    "smtproutes": "(Default.) No artificial SMTP routes.",
    "timeoutconnect": "(Default.) SMTP client connection timeout is 60 seconds.",
    "timeoutremote": "(Default.) SMTP client data timeout is 1200 seconds.",
    "timeoutsmtpd": "(Default.) SMTP server data timeout is 1200 seconds.",
    "virtualdomains": "(Default.) No virtual domains.",
}
"""The control files, and what is said when one is not there."""


def numbers(kind: str) -> list[int]:
    """The messages that have a file in one of the divided directories."""
    parts = range(auto.SPLIT)
    return sorted(int(name) for part in parts for name in os.listdir(f"queue/{kind}/{part}") if name.isdigit())


def main_qstat() -> int:
    """Run qmail-qstat."""
    os.chdir(auto.HOME)
    print(f"messages in queue: {len(numbers('mess'))}")
    print(f"messages in queue but not yet preprocessed: {len(os.listdir('queue/todo'))}")
    return 0


def main_qread() -> int:
    """Run qmail-qread: every preprocessed message with its recipients."""
    os.chdir(auto.HOME)
    for number in numbers("info"):
        info = f"queue/{split_path('info', number)}"
        try:
            with open(info, "rb") as file:
                sender = file.read()[1:].partition(b"\0")[0]
            birth = time.strftime("%d %b %Y %H:%M:%S GMT", time.gmtime(os.stat(info).st_mtime)).removeprefix("0")
            size = os.stat(f"queue/{split_path('mess', number)}").st_size
        except FileNotFoundError:
            continue
        bouncing = "bouncing" if os.path.exists(f"queue/bounce/{number}") else ""
        print(f"{birth}  #{number}  {size}  <{sender.decode('latin-1')}> {bouncing}")
        for channel in ("local", "remote"):
            for letter, address in recipients(f"queue/{split_path(channel, number)}"):
                print(f"{'  done' if letter == 'D' else ''}\t{channel}\t{address}")
    return 0


def recipients(path: str) -> list[tuple[str, str]]:
    """The recipients in a file: T or D, and the address."""
    try:
        with open(path, encoding="latin-1", newline="") as file:
            return [(record[0], record[1:]) for record in file.read().split("\0") if record]
    except FileNotFoundError:
        return []


def main_tcpto() -> int:
    """Run qmail-tcpto."""
    os.chdir(auto.HOME)
    with tcpto.table(write=False) as known:
        for address, (count, moment) in known.items():
            print(f"{address} timed out {int(time.time()) - moment} seconds ago; # recent timeouts: {count}")
    return 0


def main_tcpok() -> int:
    """Run qmail-tcpok: forget which hosts did not answer."""
    os.chdir(auto.HOME)
    with tcpto.table(write=True) as known:
        known.clear()
    return 0


def main_newmrh() -> int:
    """Run qmail-newmrh: control/morercpthosts to control/morercpthosts.cdb."""
    os.chdir(auto.HOME)
    lines = control.read_lines("morercpthosts")
    if lines is None:
        sys.stderr.write("qmail-newmrh: fatal: unable to read control/morercpthosts\n")
        return 111
    cdb.write("control/morercpthosts.cdb", sorted({line.lower() for line in lines}))
    return 0


def main_newu() -> int:
    """Run qmail-newu: users/assign to users/cdb, which has the same text here."""
    os.chdir(auto.HOME)
    try:
        with open("users/assign", "rb") as file:
            text = file.read()
    except OSError:
        sys.stderr.write("qmail-newu: fatal: unable to open users/assign\n")
        return 111
    lines = text.split(b"\n")
    if b"." not in lines or any(line.count(b":") < 6 for line in lines[: lines.index(b".")]):
        sys.stderr.write("qmail-newu: fatal: bad format in users/assign\n")
        return 111
    with open("users/cdb.tmp", "wb") as file:
        file.write(text)
    os.chmod("users/cdb.tmp", 0o644)
    os.rename("users/cdb.tmp", "users/cdb")
    return 0


def main_showctl() -> int:
    """Run qmail-showctl."""
    os.chdir(auto.HOME)
    print(f"qmail home directory: {auto.HOME}.\nThis is the lab's stand-in for qmail.")
    print(f"silent concurrency limit: {auto.SPAWN}.\nsubdirectory split: {auto.SPLIT}.\n")
    for name, default in SHOWN.items():
        lines = control.read_lines(name)
        text = default if lines is None else "\n".join(line.decode("latin-1") for line in lines)
        print(f"{name}: {text}\n")
    for name in sorted(set(os.listdir("control")) - set(SHOWN) - {"morercpthosts.cdb"}):
        print(f"{name}: I have no idea what this file does.")
    return 0


def main_maildirmake() -> int:
    """Run maildirmake DIRECTORY."""
    os.umask(0o077)
    for part in ("", "tmp", "new", "cur"):
        os.mkdir(os.path.join(sys.argv[1], part) if part else sys.argv[1])
    return 0


def main_splogger() -> int:
    """Run splogger [TAG [FACILITY]]: standard input's lines to the system's log."""
    import syslog

    facility = int(sys.argv[2]) << 3 if sys.argv[2:] else syslog.LOG_MAIL
    syslog.openlog(sys.argv[1] if sys.argv[1:] else "splogger", 0, facility)
    levels = {"alert:": syslog.LOG_ALERT, "warning:": syslog.LOG_WARNING}
    for line in sys.stdin:
        syslog.syslog(levels.get(line.partition(" ")[0], syslog.LOG_INFO), f"{time.time():.6f} {line.rstrip()}")
    return 0
