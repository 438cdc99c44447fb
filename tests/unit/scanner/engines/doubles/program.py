"""A scanner's double: it answers as a manual says. Copied under the scanner's name, with NAME.json beside it.

It checks how it was called (`argv`, `{directory}` and `{files}` standing for what must be there), looks at the
files as a scanner would, and prints `output` with `{hit}` as the file that holds the text MARK. With `behave` it
misbehaves instead.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

MARK = b"DOUBLES-FIND-THIS"


def main() -> int:
    me = Path(sys.argv[0])
    told = json.loads(me.with_name(me.name + ".json").read_text())
    behave = told.get("behave", "")
    if behave == "hang":
        time.sleep(600)
    if behave == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    if behave == "flood":
        block = b"x" * 99 + b"\n"
        while True:
            os.write(1, block * 600)
    if behave == "child":
        subprocess.Popen(["sleep", "600"])  # holds the output open
    if behave == "close":
        os.close(1)
        os.close(2)
        Path(told["note"]).write_text("closed")
        time.sleep(600)
    files, wrong = find_files(sys.argv[1:], told["argv"])
    if wrong:
        print(f"usage: {wrong}")
        return 99
    if os.environ.get("LANG") != "C" or os.environ.get("LC_ALL") != "C":
        print("nicht auf Englisch")
        return 99
    hit = next((path for path in files if MARK in path.read_bytes()), None)
    output = told["output"].replace("{hit}", str(hit)).replace("{first}", str(files[0]))
    os.write(1, output.encode("latin-1"))
    return int(told["code"])


def find_files(given: list[str], wanted: list[str]) -> tuple[list[Path], str]:
    """The files that the arguments lead to; and what is wrong with them."""
    if "{files}" in wanted:
        at = wanted.index("{files}")
        files = sorted(map(Path, given[at:]))
        return files, "" if given[:at] == wanted[:at] and all(map(Path.is_file, files)) else f"{given}, not {wanted}"
    place = next(index for index, word in enumerate(wanted) if "{directory}" in word)
    head, tail = wanted[place].split("{directory}")
    directory = given[place][len(head) : len(given[place]) - len(tail)] if len(given) == len(wanted) else ""
    expected = [word.replace("{directory}", directory) for word in wanted]
    if given != expected or not Path(directory).is_dir():
        return [], f"{given}, not {wanted}"
    return sorted(Path(directory).iterdir()), ""


sys.exit(main())
