"""How each program answers, by its manual and by what the adapters of other scanners say of it.

argv: how the manual wants to be called by a mail scanner. Each answer: exit code, output (`{hit}` the infected
file), what gatescan is to make of it (clean, infected, encrypted, limit, error) and the name it is to show.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    output: str
    meaning: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Manual:
    argv: tuple[str, ...]
    answers: tuple[Answer, ...]


D = "{directory}"


def clean(*codes: int, output: str = "") -> tuple[Answer, ...]:
    return tuple(Answer(code, output, "clean") for code in codes)


def infected(*codes: int, output: str, name: str) -> tuple[Answer, ...]:
    return tuple(Answer(code, output, "infected", name) for code in codes)


def unnamed(*codes: int) -> tuple[Answer, ...]:
    """It says by its code alone that there is a virus."""
    return tuple(Answer(code, "", "infected", f"unnamed (exit code {code})") for code in codes)


def broken(*codes: int, output: str = "cannot") -> tuple[Answer, ...]:
    return tuple(Answer(code, output, "error") for code in codes)


def sealed(code: int, output: str = "") -> tuple[Answer, ...]:
    return (Answer(code, output, "encrypted"),)


SWEEP = (
    *("-nb", "-f", "-all", "-rec", "-ss", "-sc", "-archive", "-cab", "-mime", "-oe", "-tnef", "--no-reset-atime", D),
)
SWEEP_ANSWERS = (
    *clean(0),
    *infected(3, 20, 24, output=">>> Virus 'EICAR-AV-Test' found in file {hit}\n", name="EICAR-AV-Test"),
    *infected(3, output=">>> Virus fragment 'W95/Bumble' found in file {hit}/a.zip/b\n", name="W95/Bumble"),
    *infected(0, output=">>> Virus 'Late' found in file {hit}\n", name="Late"),
    *unnamed(3, 20, 24),
    *broken(1, 2, 8, 28, 32, 36, 40, 99),
    *sealed(2, "Password protected file {first}/a.zip\n"),
    *sealed(16),
    *broken(2, output="Could not check {first} (corrupt)\n"),
)
ANTIVIR = ("--allfiles", "-noboot", "-nombr", "-rs", "-s", "-z", D)
ANTIVIR_ANSWERS = (
    *clean(0),
    *infected(
        1, 2, 3, output="  ALERT: [Eicar-Test-Signatur virus] {hit} <<< Contains\n", name="Eicar-Test-Signatur virus"
    ),
    *infected(1, output="VIRUS: {hit} contains code of the virus 'W32/Klez.h'\n", name="W32/Klez.h"),
    *unnamed(1, 2, 3),
    *broken(*range(200, 215), 4, 255),
)
KASPERSKY4 = (
    *clean(0),
    *infected(4, 5, 6, 0x84, output="{hit} infected: EICAR-Test-File\n", name="EICAR-Test-File"),
    *infected(3, output="{hit} suspicion: Type_Script\n", name="Type_Script"),
    *infected(2, output="{hit} modification: Cascade\n", name="Cascade"),
    *unnamed(2, 3, 4, 5, 6),
    *broken(1, 7, 8, 9, 15),
    *broken(0x10, 0x40, 0x80, 0xC0),  # its key or its database is missing or corrupt
)
AVP = ("-*", "-P", "-B", "-Y", "-O-", D)
CLAM_ANSWERS = (
    *clean(0, output="{first}: OK\n"),
    *infected(1, output="{hit}: Eicar-Test-Signature FOUND\n", name="Eicar-Test-Signature"),
    *infected(
        1,
        output="{hit}: Eicar-Test-Signature(44d88612fea8a8f36de82e1278abb02f:68) FOUND\n",
        name="Eicar-Test-Signature",
    ),
    *infected(1, output="{hit}: a: OK FOUND\n", name="a: OK"),
    *unnamed(1),
    *broken(2, 40, 50),
)
BITDEFENDER_ANSWERS = (
    *clean(0, output="Files: 2\nInfected files: 0\n"),
    *infected(
        1,
        output="{hit}  \x1b[31minfected: EICAR-Test-File (not a virus)\x1b[0m\nInfected files: 1\n",
        name="EICAR-Test-File (not a virus)",
    ),
    *broken(0, 1, output=""),
    *broken(2, 255),
)

MANUALS = {
    "vscan": Manual(
        ("-za", "-a", D),
        (
            *clean(0),
            *infected(1, 2, 17, output="*** Found virus Eicar_test_file in file {hit}\n", name="Eicar_test_file"),
            *unnamed(1, 100),
            *broken(128, 139, 255),
        ),
    ),
    "sweep": Manual(SWEEP, SWEEP_ANSWERS),
    "savscan": Manual(SWEEP, SWEEP_ANSWERS),
    "antivir": Manual(ANTIVIR, ANTIVIR_ANSWERS),
    "vexira": Manual(ANTIVIR, ANTIVIR_ANSWERS),
    "avscan": Manual(
        ("-s", "--batch", "--alert-action=none", D),
        (
            *clean(0, 4),
            *infected(
                1, output="  ALERT: Eicar-Test-Signature ; virus ; Contains code of it\n", name="Eicar-Test-Signature"
            ),
            *unnamed(1),
            *broken(2, 3, 200, 255),
        ),
    ),
    "avplinux": Manual(AVP, KASPERSKY4),
    "kavscanner": Manual(("-I0", *AVP), KASPERSKY4),
    "kavscanner5": Manual(
        ("-i0", "-xn", "-xp", "-mn", "-R", "-ePASBME", "{files}"),
        (
            *clean(0, 10, 15),
            *infected(5, 20, 21, 25, output="{hit} INFECTED EICAR-Test-File\n", name="EICAR-Test-File"),
            *infected(20, output="{hit} SUSPICION Type_Win32\n", name="Type_Win32"),
            *unnamed(5, 20, 21, 25),
            *broken(1, 30, 64, 65),
        ),
    ),
    "kavdaemon": Manual(
        ("-f={directory}", D),
        (
            *clean(0),
            *infected(2, 3, 4, 5, 6, output="{hit} infected: I-Worm.Klez.h\n", name="I-Worm.Klez.h"),
            *unnamed(2, 3, 4, 5, 6),
            *broken(1, 7, 8, 20),
        ),
    ),
    "aveclient": Manual(
        ("-p", "/var/run/aveserver", "-s", "{files}"),
        (
            *clean(0),
            *infected(2, 4, 5, output="{hit} INFECTED EICAR-Test-File\n", name="EICAR-Test-File"),
            *broken(1, 3, 6, 7, 8, 9, 64),
        ),
    ),
    "uvscan": Manual(
        ("--secure", "-rv", "--mime", "--summary", "--noboot", D),
        (
            *clean(0, output="Scanning {first}\nSummary report on {first}\nFile(s)\n        Clean: ......  2\n"),
            *infected(13, output="{hit}\n        Found the W32/Klez.h@MM virus !!!\n", name="W32/Klez.h@MM"),
            *infected(13, output="{hit}\n        Found the BackDoor-AB trojan !!!\n", name="BackDoor-AB"),
            *infected(13, output="{hit}\n        Found virus or variant New Malware.j !!!\n", name="New Malware.j"),
            *infected(13, output="{hit}\n        Found trojan or variant Generic.dx\n", name="Generic.dx"),
            *infected(13, output="{hit}\n        Found: EICAR test file NOT a virus.\n", name="EICAR test file"),
            *infected(0, output="{hit}\n        Found the Late virus !!!\n", name="Late"),
            *unnamed(10, 12, 13, 19, 21),
            *broken(2, 6, 8, 15, 20, 102, 1, 255, output="Missing or invalid DAT\n"),
        ),
    ),
    "csav": Manual(
        ("-all", "-archive", "-packed", D),
        (
            *clean(50),
            *infected(51, 52, 53, output="{hit}  Infection: EICAR_Test_File\n", name="EICAR_Test_File"),
            *unnamed(51, 52, 53),
            *broken(0, 1, 49, 54, 101, output=""),
        ),
    ),
    "fsav": Manual(
        ("--virus-action1=report", "--archive=yes", "--auto=yes", "--list=no", "--nomimeerr", D),
        (
            *clean(0),
            *infected(3, 4, 6, 8, output="{hit}: Infected: EICAR_Test_File [AVP]\n", name="EICAR_Test_File"),
            *infected(3, output="[{hit}] eicar.com: Infected: EICAR_Test_File [Libra]\n", name="EICAR_Test_File"),
            *unnamed(3, 4, 6, 8),
            *broken(1, 2, 5, 7, 9, 10, 64, 130),
        ),
    ),
    "f-prot": Manual(
        ("-dumb", "-archive", "-packed", D),
        (
            *clean(0),
            *infected(3, 6, output="{hit}  Infection: EICAR_Test_File\n", name="EICAR_Test_File"),
            *infected(8, output="{hit}  could be a security risk named X\n", name="security risk named X"),
            *infected(6, output="{hit}  is a joke program\n", name="joke program"),
            *infected(6, output="{hit}  could be an archive bomb\n", name="archive bomb"),
            *unnamed(3, 6, 8),
            *broken(1, 2, 5, 7, 4, 9),
        ),
    ),
    "fpscan": Manual(
        ("--report", "--mount", "--adware", D),
        (
            *clean(0),
            *infected(1, output="[Found virus] <EICAR_Test_File (exact)> {hit}->eicar.com\n", name="EICAR_Test_File"),
            *infected(2, output="[Found possible virus] <New-Heur> {hit}\n", name="New-Heur"),
            *infected(1 + 64, 1 + 4, output="[Found virus] <W32/Klez.H> {hit}\n", name="W32/Klez.H"),
            *unnamed(1, 2, 3, 128),
            Answer(8, "", "limit"),
            *sealed(64, "[Unscannable] <File is encrypted> {first}->a.doc\n"),
            Answer(8 + 64, "", "limit"),
            *broken(4, 16, 32, 4 + 8, 16 + 64),
        ),
    ),
    "inocucmd": Manual(
        ("-sec", "-nex", D),
        (
            *clean(0),
            *infected(100, output="[{hit}] was infected by virus [EICAR test string]\n", name="EICAR test string"),
            *unnamed(100),
            *broken(1, 2, 101),
        ),
    ),
    "inocmd32": Manual(
        ("-arc", "-nex", "-spm", "h", D),
        (
            *clean(0),
            *infected(
                101, output="File {hit} is infected by virus: the EICAR test string\n", name="the EICAR test string"
            ),
            *unnamed(101),
            *broken(1, 100, 102),
        ),
    ),
    "ravlin": Manual(
        ("--all", "--mail", "--archive", D),
        (
            *clean(1),
            *infected(2, 3, 4, 5, output="{hit}->eicar.com\tInfected: EICAR_Test_File\n", name="EICAR_Test_File"),
            *unnamed(2, 3, 4, 5),
            *broken(0, 6, 8, 9),
        ),
    ),
    "bdscan": Manual(("--action=ignore", "--no-list", D), BITDEFENDER_ANSWERS),
    "bdc": Manual(("--arc", "--mail", D), BITDEFENDER_ANSWERS),
    "esets_cli": Manual(
        ("--subdir", D),
        (
            *clean(0),
            *infected(1, 2, 3, output='name="{hit}", virus="Eicar test file", action=""\n', name="Eicar test file"),
            *unnamed(1, 2, 3),
            *broken(10, 100, 101, 255),
        ),
    ),
    "drweb": Manual(
        ("-path={directory}", "-al", "-go", "-ot", "-cn", "-upn", "-ok-"),
        (
            *clean(0, 32, 128),
            *infected(
                1,
                9,
                33,
                output="{hit} infected with EICAR Test File (NOT a Virus!)\n",
                name="EICAR Test File (NOT a Virus!)",
            ),
            *unnamed(1, 2, 4, 8, 9, 16, 33, 64),
        ),
    ),
    "clamscan": Manual(("--stdout", "--no-summary", "--infected", "-r", D), CLAM_ANSWERS),
    "clamdscan": Manual(("--stdout", "--no-summary", "--fdpass", D), CLAM_ANSWERS),
}
