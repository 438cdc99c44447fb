"""What links and references of documents lead to: programs, and content on other machines."""

from __future__ import annotations

import re

_REMOTE = re.compile(
    r"\s*(?:(?!file:)[a-z][a-z0-9+.-]+:|file:(?![/\\]*+(?:[a-z]:|[^/\\]*$))|\\\\|//)",
    re.IGNORECASE,
)
_OWN_SERVER = re.compile(
    r"\s*(?:file:)?[/\\]{2,5}(?!0x)(?=[a-z0-9_-]*[a-z])[a-z0-9_-]{1,15}"
    r"(?:(?:\.[a-z0-9_-]{1,63}){0,8}\.(?:local|localdomain|lan|internal|intern|intranet|corp|home|home\.arpa))?[/\\]",
    re.IGNORECASE,
)
"""A server by a name of one label that has a letter in it, or below a domain that the internet does not have: no number
for an address."""
_WEB = re.compile(r"\s*(?:https?|ftp):", re.IGNORECASE)
_WORKBOOK = re.compile(
    r"\s*https?://(?:[^?#]*\.(?:xl[a-z]{1,2}|csv|od[st])\s*(?:[?#]|\Z)"
    r"|[a-z0-9-]{1,63}\.sharepoint(?:-mil)?\.(?:com|de|cn|us)/(?::x:/|[^?#]*/doc\.aspx\?)|onedrive\.live\.com/|1drv\.ms/x/)",
    re.IGNORECASE,
)
"""Another workbook on a web server such as SharePoint, by its name or by a link of SharePoint's: its values stand in
this one, and Excel asks before it looks."""
_COMMAND = re.compile(
    r"\.(?:exe|bat|cmd|ps1|vb[se]?|ws[fhc]|hta|scr|pif|lnk|msi|cpl|jar|sct|dll)(?:[\s\"'?#]|%20|\Z)"
    r"|\.(?:com|jse?)(?:\s|%20)*+(?:[\"'?#]|\Z)",
    re.IGNORECASE,
)
_BEFORE_BLANK = re.compile(r"\.(?:com|jse?)(?:\s|%20)", re.IGNORECASE)
_EXTENSION = re.compile(r"\.[a-z][a-z0-9]{1,4}\s*(?:[?#]|\Z)", re.IGNORECASE)
"""Of a name that goes on behind `.com` or `.js`: `Booking.com invoice.pdf`, but `format.com c:`."""
_HANDLER = re.compile(
    r"\s*(?:(?:search-ms|ms-(?:msdt|officecmd|appinstaller|its)|mk|vbscript)\s*:|search\s*:\s*[a-z]{1,20}=)",
    re.IGNORECASE,
)
"""Addresses that Windows hands to a program of its own, which starts others or shows another machine's files as if they
were here."""
_OF_WINDOWS = r"(?:mshta|rundll32|regsvr32|powershell|pwsh|[wc]script|cmd|certutil|bitsadmin|msiexec|msdt)"
_ARGUMENT = r"(?:-[a-z]|[/\\\"']|%(?:2[27f]|5c)|[a-z]:[/\\]|[a-z][a-z0-9+.-]{1,20}:[^\s%]|(?:iex|iwr)\b)"
_BARE_COMMAND = re.compile(
    rf"(?:\A\s*|[/\\])(?:{_OF_WINDOWS}(?:\s|%20)++{_ARGUMENT}|rundll32(?:\s|%20)++[^\s/\\,]{{1,100}},)", re.IGNORECASE
)
"""A program of Windows without its extension, before what it shall do. A document may have its name, too, as in
`PowerShell Guide.pdf`."""
_SYSTEM_FOLDER = re.compile(r"[/\\]system32[/\\]", re.IGNORECASE)
_BARE_PROGRAM = re.compile(rf"[/\\]{_OF_WINDOWS}\s*\Z", re.IGNORECASE)
_LOCAL = re.compile(r"\s*(?:file:(?!\s)|[/\\]{2}|[a-z]:[/\\])", re.IGNORECASE)
_SHARE = re.compile(r"\s*(?:file:)?[/\\]{2,5}(?![/\\]*[a-z]:)[^/\\]+[/\\]", re.IGNORECASE)
"""A file on another machine, which gets the name and the proof of a password of whoever opens it."""
_NOT_A_FILE = re.compile(
    r"\s*(?:(?:https?|ftp|mailto|tel|news|sips?|skype|im|xmpp|callto):|#"
    r"|(?:(?!file:)[a-z][a-z0-9+.-]{1,20}(?::[/\\]{0,2}|[/\\]{2})\s*|(?:file:(?:[/\\]{3})?)?[/\\]{2})?"
    r"(?:[\w.+-]{0,64}@)?[a-z0-9.-]{0,200}\.com\s*(?:[?#]|\Z))",
    re.IGNORECASE,
)
"""Addresses, and hosts and mailboxes that were written without their scheme, with a wrong one, or as a server."""


_MONIKER = re.compile(r"\s*file:[/\\]{2,5}[^!]{1,300}\.[a-z]{2,5}!", re.IGNORECASE)
"""A file on a share and a place in it: Outlook hands it to the file's program without asking."""


_BUILT = re.compile(r"\.(?:js|jar|dll|ps1|bat|cmd)(?::\d+){0,2}\s*(?:[?#]|\Z)", re.IGNORECASE)
"""What reports of tests and builds name of the machine that they were made on."""


def starts_program_of_page(target: str) -> bool:
    """The same for a link of a page or a mail to a file: others are addresses on the web. What lies on the recipient's
    own server is written about in mails of every day."""
    if target[:5].lower() != "file:" or on_own_server(target):
        return False
    if _BUILT.search(target) and not _SHARE.match(target):
        return False
    return starts_program(target) or (_MONIKER.match(target) is not None and _SHARE.match(target) is not None)


def starts_program(target: str) -> bool:
    """Whether a click on a link to `target` starts a program."""
    if _HANDLER.match(target):
        return True
    command = _COMMAND.search(target) or _BARE_COMMAND.search(target) or _is_of_system(target) or _has_words(target)
    return bool(command) and _NOT_A_FILE.match(target) is None


def _has_words(target: str) -> bool:
    """Whether words stand behind a command, and not the rest of a document's name."""
    return _BEFORE_BLANK.search(target) is not None and _EXTENSION.search(target) is None


def _is_of_system(target: str) -> bool:
    """Whether it is a program in the system's folder, without its extension."""
    return _BARE_PROGRAM.search(target) is not None and _SYSTEM_FOLDER.search(target) is not None


def starts_program_by_address(target: str) -> bool:
    """The same where only a whole address names a file, as in PDF: there `setup.exe` is relative to a web page."""
    return (_HANDLER.match(target) or _LOCAL.match(target)) is not None and starts_program(target)


def from_elsewhere(kind: str, target: str) -> bool:
    """Whether a relation of that kind, in lower case, fetches its target from another machine."""
    if kind == "picture":
        return bool(_SHARE.match(target)) and not on_own_server(target)
    if kind == "link":
        return bool(_REMOTE.match(target)) and not on_own_server(target) and not _WORKBOOK.match(target)
    if kind == "externallinkpath":
        return bool(_WEB.match(target)) and not _WORKBOOK.match(target)
    own = kind == "attachedtemplate" and on_own_server(target)
    return bool(_REMOTE.match(target)) and not own


def on_own_server(target: str) -> bool:
    """Whether a file lies on a server that only the recipient's own network can know by that name."""
    return _OWN_SERVER.match(target) is not None
