"""What an engine costs a message: asked by gatescan, beside its own client, on a gateway of the lab.

    python3 -m bench.engines [--gateway NAME] [--messages N] [--rounds N] [--json FILE]

Needs a lab whose gateway was built as molecule/engines does: ClamAV, SpamAssassin and their clients; with `-e
'{"rspamd_enabled": true}'` rspamd is measured, too. The messages are those of bench.scanner's mixed corpus. With few
signatures what is measured is the way to ask, not the search.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import options
from bench.scanner.corpus import mixed
from lab.talk import LabHost, lab_host

INSIDE = Path(__file__).with_name("inside.py")
CLIENTS = {"clamd": "clamdscan --fdpass", "spamd": "spamc", "rspamd": "rspamc"}
"""By the beginning of a way's name, the client that it is compared with."""

Rounds = list[dict[str, list[float]]]


@dataclass(frozen=True)
class Measured:
    """Milliseconds a message, of each way in each round. memory: bytes by unit."""

    rounds: Rounds
    memory: dict[str, int]


def measure(gateway: LabHost, count: int, rounds: int) -> Measured:
    """Have the gateway measure every way."""
    plan = {"messages": [message.decode("latin-1") for message in mixed(count)], "rounds": rounds}
    gateway.run("sh", "-c", "cat > /run/bench-engines.py", stdin=INSIDE.read_text())
    try:
        measured = json.loads(gateway.run("python3", "/run/bench-engines.py", stdin=json.dumps(plan)))
    finally:
        gateway.run("rm", "/run/bench-engines.py")
    return Measured(**measured)


def show(rounds: Rounds) -> None:
    """Print medians of all rounds, and of the ratios to the client in the same round."""
    print(
        f"{'':24}{'ms':>8}{'CPU ms, asking':>16}{'CPU ms, daemon':>16}{'time':>8}{'CPU':>8}   as a ratio to the client"
    )
    for name in rounds[0]:
        client = next((found for start, found in CLIENTS.items() if name.startswith(start + ",")), name)
        time, asking, daemon = (statistics.median(one[name][column] for one in rounds) for column in range(3))
        times = statistics.median(one[name][0] / one[client][0] for one in rounds)
        work = statistics.median(sum(one[name][1:]) / sum(one[client][1:]) for one in rounds)
        print(f"{name:24}{time:8.2f}{asking:16.2f}{daemon:16.2f}{times:8.2f}{work:8.2f}")


def main() -> None:
    """Measure and print."""
    parser = options.parser("bench.engines", __doc__, rounds=3, messages=40)
    parser.add_argument("--gateway", default="gw1", help="the lab's host")
    chosen = parser.parse_args()
    measured = measure(LabHost(lab_host(chosen.gateway)), chosen.messages, chosen.rounds)
    show(measured.rounds)
    for unit, size in measured.memory.items():
        print(f"memory of {unit} after that, shared pages counted once (PSS): {size / 1e6:.0f} MB")
    if chosen.json:
        chosen.json.write_text(json.dumps(asdict(measured), indent=1) + "\n")


if __name__ == "__main__":
    main()
