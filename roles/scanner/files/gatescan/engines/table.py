"""The programs that gatescan can ask: the paper's Appendix B and their kin, a row each.

The rows follow the vendors' manuals and what other scanners' adapters agree on. Where they differ, the stricter
reading stands here: a code that somebody takes for clean although the program did not look at all is not clean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from gatescan.engines.codes import bits, counted, listed, nibbles
from gatescan.engines.commandline import Program
from gatescan.model import Verdict


def _lines(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern, re.MULTILINE) for pattern in patterns)


_D = "{directory}"
_KASPERSKY = _lines(
    r"\b(?:infected|INFECTED|suspicion|SUSPICION|WARNING|modification): (?P<name>[^\r\n]+)",
    r"\b(?:INFECTED|SUSPICION|WARNING) (?P<name>[^\s:][^\r\n]*)",
)
_INFECTION = _lines(r"\bInfection: (?P<name>[^\r\n]+)")
_SOPHOS_SEALED = _lines(r"^Password protected file ")
_KAV4_CODES = nibbles(clean=[0], infected=[2, 3, 4, 5, 6])

# The numbers of Appendix B's programs; all of them are also what qmail-scanner called its scanners.
PROGRAMS: Mapping[str, Program] = MappingProxyType(
    {
        # Trend Micro. The code counts viruses.
        "vscan": Program(
            command=("/etc/iscan/vscan", "-za", "-a", _D),
            codes=counted(),
            found=_lines(r"\*\*\* Found virus (?P<name>.+?) in file "),
            signatures=("/etc/iscan/lpt$vpn.*",),
        ),
        # Sophos. 1: interrupted, 2: an error, 3: a virus; with -eec 8 and 32 and on: errors, 16: encrypted.
        "sweep": Program(
            command=(
                *("/usr/local/bin/sweep", "-nb", "-f", "-all", "-rec", "-ss", "-sc", "-archive", "-cab", "-mime"),
                *("-oe", "-tnef", "--no-reset-atime", _D),
            ),
            codes=listed(clean=[0], infected=[3, 20, 24], other={16: Verdict.ENCRYPTED}),
            found=_lines(r">>> Virus (?:fragment )?'(?P<name>[^'\n]+)' found in "),
            sealed=_SOPHOS_SEALED,
            sealed_codes=frozenset({2}),
            version=("-v",),
            signatures=("/usr/local/sav/*.ide", "/usr/local/sav/vdl*.dat", "/opt/sophos-av/lib/sav/*.ide"),
        ),
        "savscan": Program(
            command=(
                *("/usr/bin/savscan", "-nb", "-f", "-all", "-rec", "-ss", "-sc", "-archive", "-cab", "-mime"),
                *("-oe", "-tnef", "--no-reset-atime", _D),
            ),
            codes=listed(clean=[0], infected=[3, 20, 24], other={16: Verdict.ENCRYPTED}),
            found=_lines(r">>> Virus (?:fragment )?'(?P<name>[^'\n]+)' found in "),
            sealed=_SOPHOS_SEALED,
            sealed_codes=frozenset({2}),
            version=("-v",),
            signatures=("/opt/sophos-av/lib/sav/*.ide", "/opt/sophos-av/lib/sav/vdl*.dat"),
        ),
        # H+BEDV. 1: in a file, 2: in memory, 3: suspicious; 200 to 214: its own troubles.
        "antivir": Program(
            command=("/usr/bin/antivir", "--allfiles", "-noboot", "-nombr", "-rs", "-s", "-z", _D),
            codes=listed(clean=[0], infected=[1, 2, 3]),
            found=_lines(
                r"ALERT: \[(?P<name>[^\]\n]+)",
                r"VIRUS: .*?\bvirus '?(?P<name>[^'\n]+)'?",
            ),
            version=("--version",),
            signatures=("/usr/lib/AntiVir/*.vdf",),
        ),
        "vexira": Program(
            command=("/usr/lib/Vexira/vexira", "--allfiles", "-noboot", "-nombr", "-rs", "-s", "-z", _D),
            codes=listed(clean=[0], infected=[1, 2, 3]),
            found=_lines(
                r"ALERT: \[(?P<name>[^\]\n]+)",
                r"VIRUS: .*?\bvirus '?(?P<name>[^'\n]+)'?",
            ),
            version=("--version",),
        ),
        "avscan": Program(
            command=("/usr/bin/avscan", "-s", "--batch", "--alert-action=none", _D),
            codes=listed(clean=[0, 4], infected=[1]),
            found=_lines(r"ALERT: (?:.*? )??(?P<name>[^;\s]+) ?;"),
        ),
        # Kaspersky. 2: modified, 3: suspicious, 4: a virus; 5 and 6: it has changed the files.
        "avplinux": Program(
            command=("/opt/AVP/AvpLinux", "-*", "-P", "-B", "-Y", "-O-", _D),
            codes=_KAV4_CODES,
            found=_KASPERSKY,
            signatures=("/opt/AVP/*.avc",),
        ),
        "kavscanner": Program(
            command=("/opt/kav/bin/kavscanner", "-I0", "-*", "-P", "-B", "-Y", "-O-", _D),
            codes=_KAV4_CODES,
            found=_KASPERSKY,
            signatures=("/opt/kav/bases/*.avc", "/var/db/kav/bases/*.avc"),
        ),
        "kavscanner5": Program(
            command=(
                *("/opt/kav/5.5/kav4mailservers/bin/kavscanner", "-i0", "-xn", "-xp", "-mn", "-R", "-ePASBME"),
                "{files}",
            ),
            codes=listed(clean=[0, 10, 15], infected=[5, 20, 21, 25]),
            found=_KASPERSKY,
            signatures=("/var/db/kav/5.5/kav4mailservers/bases/*.avc",),
        ),
        "kavdaemon": Program(
            command=("/opt/AVP/AvpDaemonClient", f"-f={_D}", _D),
            # 8: corrupt objects, which other adapters take for clean.
            codes=listed(clean=[0], infected=[2, 3, 4, 5, 6]),
            found=_KASPERSKY,
            signatures=("/opt/AVP/*.avc",),
        ),
        "aveclient": Program(
            command=(
                *("/opt/kav/5.5/kav4mailservers/bin/aveclient", "-p", "/var/run/aveserver", "-s"),
                "{files}",
            ),
            codes=listed(clean=[0], infected=[2, 4, 5]),
            found=_KASPERSKY,
        ),
        # McAfee. The file's name is on the line before the virus's. 10: in memory, 12: could not clean,
        # 13: found, 19: found and cleaned, 21: clean after a reboot; 2, 6, 8, 15, 20, 102: it has not looked.
        "uvscan": Program(
            command=(
                *("/usr/local/uvscan/uvscan", "--secure", "-rv", "--mime", "--summary", "--noboot"),
                _D,
            ),
            codes=listed(clean=[0], infected=[10, 12, 13, 19, 21]),
            found=_lines(
                r"Found the (?!(?:virus|trojan) or variant)(?P<name>[^\r\n]+?) (?:virus|trojan)\b",
                r"Found (?:the )?(?:virus|trojan) or variant (?P<name>[^\r\n]+?)(?: *!+)?\r?$",
                r"Found: (?P<name>[^\r\n]+?) NOT a virus",
            ),
            sealed=_lines(r"is password-protected"),
            version=("--version",),
            signatures=("/usr/local/uvscan/*.dat", "/usr/local/uvscan/dat/*.dat"),
        ),
        # Command. Clean is 50; 0 is not.
        "csav": Program(
            command=("/usr/bin/csav", "-all", "-archive", "-packed", _D),
            codes=listed(clean=[50], infected=[51, 52, 53]),
            found=_INFECTION,
            signatures=("/usr/lib/csav/*.def",),
        ),
        # F-Secure. 9: at least one file could not be looked at.
        "fsav": Program(
            command=(
                *("/usr/bin/fsav", "--virus-action1=report", "--archive=yes", "--auto=yes", "--list=no"),
                *("--nomimeerr", _D),
            ),
            codes=listed(clean=[0], infected=[3, 4, 6, 8]),
            found=_lines(r": (?:Infected|Suspected): (?P<name>[^\[\r\n]+?) *(?:\[|$)"),
            version=("--version",),
            signatures=("/var/opt/f-secure/fsav/databases/*/*",),
        ),
        # FRISK. f-prot's 8: suspicious.
        "f-prot": Program(
            command=("/usr/local/bin/f-prot", "-dumb", "-archive", "-packed", _D),
            codes=listed(clean=[0], infected=[3, 6, 8]),
            found=_INFECTION
            + _lines(r"^.*? +(?:is|could be) (?:a |an )?(?P<name>(?:security risk|joke|archive bomb)[^\r\n]*)"),
            version=("-verno",),
            signatures=("/usr/local/f-prot/*.DEF",),
        ),
        # 1: infected, 2: suspicious, 128: disinfected; 8: limits of its own, 64: encrypted or not understood.
        "fpscan": Program(
            command=("/usr/local/bin/fpscan", "--report", "--mount", "--adware", _D),
            codes=bits(infected=1 | 2 | 128, other={8: Verdict.LIMIT, 64: Verdict.ENCRYPTED}),
            found=_lines(r"^\[(?:Found|Contains) [^\]\n]+\]\s+<(?P<name>[^>\r\n]+?)(?: \([^)\n]*\))?>"),
            sealed=_lines(r"^\[Unscannable\]\s+<File is encrypted"),
            version=("--version",),
            signatures=("/opt/f-prot/antivir.def",),
        ),
        # Computer Associates.
        "inocucmd": Program(
            command=("/usr/local/bin/inocucmd", "-sec", "-nex", _D),
            codes=listed(clean=[0], infected=[100]),
            found=_lines(r"was infected by virus \[(?P<name>[^\]\r\n]+)\]"),
        ),
        "inocmd32": Program(
            command=("/opt/CA/etrust/bin/inocmd32", "-arc", "-nex", "-spm", "h", _D),
            codes=listed(clean=[0], infected=[101]),
            found=_lines(r"is infected by virus: (?P<name>[^\r\n]+)"),
        ),
        # RAV. Clean is 1; it fails when its standard input is empty.
        "ravlin": Program(
            command=("/usr/local/rav8/bin/ravlin", "--all", "--mail", "--archive", _D),
            codes=listed(clean=[1], infected=[2, 3, 4, 5]),
            found=_lines(r"\bInfected: (?P<name>[^\r\n]+)"),
            open_input=True,
        ),
        # Bitdefender says it in its output alone: how it ends tells only whether it has run.
        "bdscan": Program(
            command=("/usr/bin/bdscan", "--action=ignore", "--no-list", _D),
            codes=listed(clean=[0], infected=[1]),
            found=_lines(r"\binfected: (?P<name>[^\r\n]+)"),
            needed=_lines(r"^Infected files *: *0+\s*$"),
        ),
        "bdc": Program(
            command=("/opt/bdc/bdc", "--arc", "--mail", _D),
            codes=listed(clean=[0], infected=[1]),
            found=_lines(r"\binfected: (?P<name>[^\r\n]+)"),
            needed=_lines(r"^Infected files *: *0+\s*$"),
        ),
        "esets_cli": Program(
            command=("/usr/bin/esets_cli", "--subdir", _D),
            codes=listed(clean=[0], infected=[1, 2, 3]),
            found=_lines(r'\bvirus="(?P<name>[^"\r\n]+)"'),
        ),
        # Dr.Web. 1, 2, 4: known, modified, suspicious; 8, 16: the same in archives; 64: cured. 32 and 128 are
        # also told of clean files.
        "drweb": Program(
            command=("/usr/local/drweb/drweb", f"-path={_D}", "-al", "-go", "-ot", "-cn", "-upn", "-ok-"),
            codes=bits(infected=1 | 2 | 4 | 8 | 16 | 64, ignored=32 | 128),
            found=_lines(r"\binfected with (?P<name>[^\r\n]+)"),
            version=("-V",),
            signatures=("/var/drweb/bases/*.vdb",),
        ),
        # ClamAV's own client, for those who keep no daemon. A cold start takes longer than most messages' scan.
        "clamscan": Program(
            command=("/usr/bin/clamscan", "--stdout", "--no-summary", "--infected", "-r", _D),
            codes=listed(clean=[0], infected=[1]),
            found=_lines(r": (?!Infected Archive)(?P<name>.+?)(?:\([0-9a-fA-F]{32,64}:\d+\))? FOUND *$"),
            version=("--version",),
            signatures=("/var/lib/clamav/*.c?d",),
        ),
        "clamdscan": Program(
            command=("/usr/bin/clamdscan", "--stdout", "--no-summary", "--fdpass", _D),
            codes=listed(clean=[0], infected=[1]),
            found=_lines(r": (?!Infected Archive)(?P<name>.+?)(?:\([0-9a-fA-F]{32,64}:\d+\))? FOUND *$"),
            version=("--version",),
            signatures=("/var/lib/clamav/*.c?d",),
        ),
    }
)
