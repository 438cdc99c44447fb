"""Every name that a reader may see for an attachment, and the extensions that come of it.

A rule is tested against all of `variants()`. Nothing here opens a file: names are text from outside.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote

from gatescan.model import Finding, Verdict
from gatescan.text import printable
from gatescan.text.words import decode_extended, decode_words

MAX_LENGTH = 255
"""Characters. No file system in use has longer names: a longer one is cut, and then ends differently."""

_OF_TYPE = {
    "application/hta": "hta",
    "application/java-archive": "jar",
    "application/x-internet-signup": "ins",
    "application/x-java-jnlp-file": "jnlp",
    "application/x-ms-application": "application",
    "application/x-ms-xbap": "xbap",
    "application/x-mswebsite": "website",
    "text/scriptlet": "wsc",
    "text/x-component": "htc",
    "text/x-ms-iqy": "iqy",
    "text/x-ms-rqy": "rqy",
}
_MAX_VARIANTS = 32
_MAX_LOOKED_AT = 4096
"""Characters of a name that are looked at from each end; `name-too-long` is reported far below it."""

_PLAIN = re.compile(r"[A-Za-z0-9_ ()\[\]+-]+(?:\.[A-Za-z0-9_()\[\]+-]+)*")
_EXTENDED = re.compile(r"[\w-]{0,40}'[\w-]{0,40}'.")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_ENTITY = re.compile(r"&#?\w{1,12};")
_ESCAPE = re.compile(r"\\(.)")
_DRIVE = re.compile(r"[A-Za-z]:(?=[^\s:])")
# `a.exe:stream` and `a.exe::$DATA`, but not the colon of `Minutes of example.com: part 2.pdf`.
_STREAM = re.compile(r":\S*\Z")
# `a.exe;.txt` and `a.exe;1`, but not `ann@example.com; papers.zip`: what follows has a stem of its own.
_SEMICOLON = re.compile(r";\s*(?:\.?\w{0,5})?\Z")
_TRAILING = " .\t\r\n\x0b\x0c\xa0\"'`<>\u2018\u2019\u201c\u201d\u201e\xab\xbb\u2039\u203a"
_SPACES = re.compile(r"\s+")
_CLSID = re.compile(r"\.\{[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\}")
_OVERRIDES = frozenset("\u202d\u202e")
_TRAVERSAL = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)")
_BUNDLE = re.compile(r"\.(?:app|action|kext|m?pkg|prefpane|saver|scptd|wdgt|workflow)(?=[/\\]contents[/\\])")
"""A folder that macOS shows, and starts, as one file: `Invoice.app/Contents/MacOS/run`. Copies of web sites have a
`example.com/contents`."""
_SEPARATOR = re.compile(r"[/\\]")
# With an extension it is a file that only Windows refuses to write: `Con.docx`, `aux.tex`.
_DEVICE = re.compile(r"(?i)(?:con|prn|aux|nul|com[1-9]|lpt[1-9])\s*(?::.*)?", re.DOTALL)
# `$(000s)` and marks around a word are ordinary; a command in them is not.
_COMMANDS = (
    "id|sh|bash|rm|cat|curl|wget|nc|touch|echo|python3?|perl|ping|sleep|whoami|uname|reboot|chmod|eval|exec|powershell"
)
_SHELL = re.compile(rf"^\||(?:`|\$\()\s*(?:[./~][^`)]*/)?(?:{_COMMANDS})\b[^`)]*[`)]|^-{{1,2}}[a-z]+$")
_NOT_IN_NAMES = str.maketrans("", "", '<>"|?*')
"""Characters that Windows has in no name: some programs leave them out."""
_FULL_STOPS = dict.fromkeys(map(ord, "\u3002\uff61\u06d4\u0701\u0702\u166e\u2e3c\ua4f8\ua60e\u2024\ufe52\uff0e"), ".")
"""Full stops of other scripts, which some readers and address lines turn into a dot."""
_PADDED = re.compile(r"\s{40}")
_LOOKALIKES = str.maketrans(
    "аеорсхуіѕјԁԛѡһкмтвοαενικρτυχ",
    "aeopcxyisjdqwhkmtboaevikptux",
)


def variants(names: Iterable[str]) -> tuple[str, ...]:
    """All names to test for a part with these names: decoded, normalised, in lower case, each once."""
    found: dict[str, None] = {}
    for name in names:
        found.update(dict.fromkeys(_variants(name)))
    return tuple(found)


def of_type(content_type: str) -> tuple[str, ...]:
    """The name that mail programs make up for a file without one, where Windows has an extension for its type that
    starts something."""
    extension = _OF_TYPE.get(content_type)
    return (f"ATT00001.{extension}",) if extension else ()


@lru_cache(maxsize=1024)
def extensions(name: str) -> frozenset[str]:
    """Every extension, in lower case and without its dot, that any reader of `name` may go by."""
    found = set()
    for variant in _variants(name):
        _, dot, extension = variant.rpartition(".")
        if dot and extension:
            found.add(extension)
            if not extension.isascii():
                found.add(extension.translate(_LOOKALIKES))
        if not variant.isascii():
            found.add(variant.translate(_FULL_STOPS).rpartition(".")[2].strip(_TRAILING))
    return frozenset(found)


def anomalies(name: str, part: str = "") -> tuple[Finding, ...]:
    """What is wrong with a name in itself, whatever the rules list. `part` is the path of its part.

    A harmless name gives (). Costs one regex for an ordinary name.
    """
    if len(name) <= 100 and _PLAIN.fullmatch(name) and name[0] not in "-cCpPaAnNlL" and "   " not in name:
        return ()
    found = {
        code: (verdict, why) for decoded in _decodings(_bounded(name)) for verdict, code, why in _anomalies(decoded)
    }
    if len(name) > MAX_LENGTH and (longest := longest_piece(name)) > MAX_LENGTH:
        found["name-too-long"] = (Verdict.POLICY, f"a name of {longest} characters")
    return tuple(Finding(verdict, code, f"{why}: {printable(name)}", part) for code, (verdict, why) in found.items())


def longest_piece(path: str) -> int:
    """Characters of the longest name in a path."""
    return max(map(len, _SEPARATOR.split(path)))


def _anomalies(name: str) -> Iterable[tuple[Verdict, str, str]]:
    if _CLSID.search(name):
        yield Verdict.POLICY, "name-clsid", "a class identifier in place of the extension"
    if _PADDED.search(name):
        yield Verdict.POLICY, "name-padded", "spaces that push the end out of sight"
    if _TRAVERSAL.search(name):
        yield Verdict.POLICY, "name-path", "a path that leads elsewhere"
    if _DEVICE.fullmatch(name):
        yield Verdict.POLICY, "name-device", "the name of a device"
    if _SHELL.search(name):
        yield Verdict.POLICY, "name-shell", "a name made for a command line"
    if "\0" in name:
        yield Verdict.AMBIGUOUS, "name-nul", "a NUL, where some readers stop"
    if not _OVERRIDES.isdisjoint(name):
        yield Verdict.AMBIGUOUS, "name-direction", "a name that is shown in another order than it is read"


@lru_cache(maxsize=2048)
def _variants(name: str) -> tuple[str, ...]:
    if _PLAIN.fullmatch(name) and len(name) <= MAX_LENGTH:
        return (name.strip().lower(),)
    found: dict[str, None] = {}
    for decoded in _decodings(_bounded(name)):
        for cut in _cuts(decoded):
            found.setdefault(cut)
    return tuple(found)


def _bounded(name: str) -> str:
    """Both ends of a name that is far too long."""
    return name if len(name) <= 2 * _MAX_LOOKED_AT else name[:_MAX_LOOKED_AT] + name[-_MAX_LOOKED_AT:]


def _decodings(name: str) -> Iterable[str]:
    """`name` and what every decoder makes of it, decoders after decoders, at most `_MAX_VARIANTS`."""
    found: dict[str, None] = {name: None}
    fresh = [name]
    for _ in range(3):
        fresh = [d for n in fresh for d in _decode_once(n) if d not in found]
        found.update(dict.fromkeys(fresh))
        if not fresh or len(found) > _MAX_VARIANTS:
            break
    return list(found)[:_MAX_VARIANTS]


def _decode_once(name: str) -> Iterable[str]:
    if "=?" in name:
        yield decode_words(name.encode("utf-8", "surrogatepass"))
    if "'" in name and _EXTENDED.match(name):
        yield decode_extended(name.encode("utf-8", "surrogatepass"))
    if "%" in name and _PERCENT.search(name):
        yield unquote(name, errors="replace")
    if "&" in name and _ENTITY.search(name):
        yield html.unescape(name)
    if "\\" in name:
        yield _ESCAPE.sub(r"\1", name)
    if "\0" in name:
        yield name.partition("\0")[0]


def _cuts(name: str) -> Iterable[str]:
    """`name` as a file system keeps it: without folder, drive, stream, marks that are not shown."""
    tidy = _tidy(name)
    yield tidy
    if len(tidy) > MAX_LENGTH:
        yield tidy[:MAX_LENGTH].rstrip(_TRAILING)
    whole = tidy.rstrip("/\\")
    base = whole[max(whole.rfind("/"), whole.rfind("\\")) + 1 :]
    if bundle := _BUNDLE.search(whole):
        yield _SEPARATOR.split(whole[: bundle.end()])[-1]
    pieces = [base, _DRIVE.sub("", base, count=1) if _DRIVE.match(base) else base]
    for piece in list(pieces):
        stream = piece.find(":")
        if stream > 0 and _STREAM.match(piece, stream):
            pieces.append(piece[:stream])
        semicolon = piece.find(";")
        if semicolon > 0 and _SEMICOLON.match(piece, semicolon):
            pieces.append(piece[:semicolon])
        bare = piece.translate(_NOT_IN_NAMES)
        if bare != piece:
            pieces.append(bare)
    for piece in pieces:
        stripped = piece.strip(_TRAILING if not piece.startswith(".") else " \t").rstrip(_TRAILING)
        if stripped and stripped != tidy:
            yield stripped


def _tidy(name: str) -> str:
    if not name.isascii():
        name = unicodedata.normalize("NFKC", name)
    if not name.isprintable():
        name = "".join(" " if c in "\t\r\n" else c for c in name if c in "\t\r\n" or not _hidden(c))
    return _SPACES.sub(" ", name).strip().rstrip(_TRAILING).lower()


def _hidden(char: str) -> bool:
    """Whether a character takes no room on the screen: controls, joiners, direction marks."""
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Cn")
