"""Runs on a gateway, as root: messages as JSON on standard input, figures as JSON. Standard library and gatescan only.

Input: {"messages": [latin-1 texts], "rounds": N}. Output: {"rounds": figures by way, "memory": bytes by unit}. Each way
to ask gets the same messages, one after another, the ways in turn in every round. clamd's cache of clean files is off
meanwhile: in life no two messages are the same.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gatescan.config import load
from gatescan.context import Context
from gatescan.engines.base import Engine, Sample
from gatescan.engines.build import panel
from gatescan.judging.judge import MessageReport, judge
from gatescan.judging.rules import load as load_rules
from gatescan.model import Buffer, Finding

CLAMD_CONFIG = Path("/etc/clamav/clamd.conf")
RSPAMD = "/run/rspamd/scanner/rspamd.sock"
Ask = Callable[[Sample, str], None]
TICK = os.sysconf("SC_CLK_TCK")


def daemon_seconds(unit: str) -> float:
    """CPU seconds that a service's processes have used, those that have ended included."""
    asked = ["systemctl", "show", "--property=MainPID", "--value", unit]
    main = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if main in (stat.parent.name, fields[1]):
                total += sum(map(int, fields[11:13])) + (
                    sum(map(int, fields[13:15])) if stat.parent.name == main else 0
                )
    return total / TICK


def memory(unit: str) -> int:
    """Bytes that a service's processes take, with shared pages counted once (PSS)."""
    asked = ["systemctl", "show", "--property=ControlGroup", "--value", unit]
    group = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    found = [path.read_text().split() for path in Path("/sys/fs/cgroup").glob(f"**{group}/cgroup.procs")]
    sizes = (Path(f"/proc/{process}/smaps_rollup").read_text() for process in set().union(*found))
    return sum(int(line.split()[1]) for text in sizes for line in text.splitlines() if line.startswith("Pss:")) << 10


def own_seconds() -> float:
    """CPU seconds of this process and of the clients that it ran."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def client(*command: str, stdin: bool = False) -> Ask:
    """A way: the engine's own client, one process a message."""

    def ask(sample: Sample, path: str) -> None:
        with open(path, "rb") as file:
            done = subprocess.run(command if stdin else (*command, path), stdin=file, stdout=subprocess.DEVNULL)
        if done.returncode:
            raise SystemExit(f"{command[0]} says {done.returncode}")

    return ask


def adapter(engine: Engine, *, parts: bool) -> Ask:
    """A way: gatescan's adapter, with the message alone or with its parts, as the gateway asks."""

    def ask(sample: Sample, path: str) -> None:
        asked = sample if parts else Sample(sample.message)
        engine.scan(asked, time.monotonic() + engine.timeout)

    return ask


class Keeper:
    """Asked as an engine, it keeps what engines are shown."""

    name = "keeper"
    sample = Sample(b"")

    def scan(self, message: Buffer, report: MessageReport, context: Context) -> list[Finding]:
        self.sample = Sample(message, tuple(report.parts), context)
        return []


def measure(ask: Ask, unit: str, samples: Sequence[tuple[Sample, str]]) -> list[float]:
    """Milliseconds a message: from the question to the answer, CPU on this side, CPU of the daemon."""
    daemon, own, started = daemon_seconds(unit), own_seconds(), time.monotonic()
    for sample, path in samples:
        ask(sample, path)
    spent = time.monotonic() - started, own_seconds() - own, daemon_seconds(unit) - daemon
    return [1000 * seconds / len(samples) for seconds in spent]


@contextlib.contextmanager
def no_cache() -> Iterator[None]:
    """clamd without its cache."""
    before = CLAMD_CONFIG.read_text()
    try:
        CLAMD_CONFIG.write_text(before + "DisableCache yes\n")
        subprocess.run(["systemctl", "restart", "clamav-daemon"], check=True)
        yield
    finally:
        CLAMD_CONFIG.write_text(before)
        subprocess.run(["systemctl", "restart", "clamav-daemon"], check=True)


def main() -> None:
    """Measure every way in every round."""
    plan = json.load(sys.stdin)
    config = load()
    asked = panel(config, keep=False)
    engines = {member.engine.name: member.engine for member in (asked.members if asked else ())}
    if not {"clamd", "spamd"} <= set(engines):
        raise SystemExit("bench: this gateway's inventory does not switch on clamav and spamassassin")
    ways = {
        "clamdscan --fdpass": ("clamav-daemon", client("clamdscan", "--fdpass", "--no-summary")),
        "clamd, the message": ("clamav-daemon", adapter(engines["clamd"], parts=False)),
        "clamd, with its parts": ("clamav-daemon", adapter(engines["clamd"], parts=True)),
        "spamc": ("spamd", client("spamc", "-U", "/run/spamd/spamd.sock", "-y", "-x", stdin=True)),
        "spamd, the message": ("spamd", adapter(engines["spamd"], parts=False)),
    }
    if "rspamd" in engines:
        ways |= {
            "rspamc": ("rspamd", client("rspamc", "-h", RSPAMD, stdin=True)),
            "rspamd, the message": ("rspamd", adapter(engines["rspamd"], parts=False)),
        }
    rules = load_rules(config.rules.compiled)
    with tempfile.TemporaryDirectory() as room, no_cache():
        samples = []
        for number, text in enumerate(plan["messages"]):
            keeper, path = Keeper(), os.path.join(room, str(number))
            Path(path).write_bytes(text.encode("latin-1"))
            judge(text.encode("latin-1"), Context(), rules, config, (keeper,))
            samples.append((keeper.sample, path))
        for unit, ask in ways.values():
            measure(ask, unit, samples[:3])  # warm
        rounds = [
            {name: measure(ask, unit, samples) for name, (unit, ask) in ways.items()} for _ in range(plan["rounds"])
        ]
        used = {unit: memory(unit) for unit in sorted({unit for unit, _ in ways.values()})}
    print(json.dumps({"rounds": rounds, "memory": used}))


main()
