"""SSH: its port, who may come, and what else its configuration has."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from gatewright import PROJECT, kinds
from gatewright.chapters import Chapter
from gatewright.inventory import Site
from gatewright.problems import Problems, suggest
from gatewright.published import check_port


def check(site: Site, problems: Problems) -> None:
    """Its port is no other program's, and whoever runs the playbook may still come."""
    check_port(site, problems, "sshd_port")
    options, user = site.value("sshd_extra_options"), site.value("ansible_user")
    if not isinstance(options, Mapping) or not isinstance(user, str):
        return
    for name, value in options.items():
        if str(name).lower() == "match":
            return
        if str(name).lower() in ("allowusers", "denyusers") and _is_shut_out(str(name).lower(), user, value):
            problems.add(f"sshd_extra_options.{name}", f"keeps out {user} (ansible_user), as whom this playbook comes")


def _is_shut_out(option: str, user: str, value: Any) -> bool:
    """Whether lists of users keep one out from everywhere; what holds for some hosts only is not looked at."""
    texts = [str(item) for item in (value if isinstance(value, list | tuple) else [value])]
    patterns = [word for text in texts for word in text.split()]
    if any(word.startswith("!") for word in patterns):
        return False
    if option == "denyusers":
        return any(fnmatchcase(user, word) for word in patterns if "@" not in word)
    return not any(fnmatchcase(user, word.rpartition("@")[0] or word) for word in patterns)


_keyword = kinds.matching(r"[A-Z][A-Za-z0-9]+", "an option of sshd_config")
_forms = kinds.mapped(_keyword, kinds.either("text or a list of texts", kinds.scalar, kinds.listed(kinds.scalar)))
_TEMPLATE = PROJECT / "roles/sshd/templates/etc/ssh/sshd_config.j2"
_VARIABLES = {
    "port": "sshd_port",
    "permitrootlogin": "sshd_permit_root_login",
    "allowgroups": "sshd_allow_groups",
    "authorizedkeysfile": "sshd_authorized_keys_files",
    "maxauthtries": "sshd_max_auth_tries",
    "maxsessions": "sshd_max_sessions",
    "banner": "sshd_banner",
    "persourcepenaltyexemptlist": "firewall_admin_networks",
}
# Of these further ones count beside the role's.
_SEVERAL = {"acceptenv", "denyusers", "hostkey", "subsystem"}
# What the role does not set, of OpenSSH 9.2 to 10, Debian's own among it.
_FURTHER = (
    "AddressFamily", "AllowUsers", "AuthenticationMethods", "AuthorizedKeysCommand", "AuthorizedKeysCommandUser",
    "AuthorizedPrincipalsCommand", "AuthorizedPrincipalsCommandUser", "AuthorizedPrincipalsFile",
    "CASignatureAlgorithms", "ChannelTimeout", "ChrootDirectory", "DebianBanner", "DenyGroups", "DisableForwarding",
    "ExposeAuthInfo", "FingerprintHash", "ForceCommand", "GSSAPICleanupCredentials", "GSSAPIKexAlgorithms",
    "GSSAPIKeyExchange", "GSSAPIStoreCredentialsOnRekey", "GSSAPIStrictAcceptorCheck",
    "HostbasedAcceptedAlgorithms", "HostbasedAcceptedKeyTypes", "HostbasedUsesNameFromPacketOnly",
    "HostCertificate", "HostKeyAgent", "IgnoreUserKnownHosts", "Include", "IPQoS", "KerberosAuthentication",
    "KerberosGetAFSToken", "KerberosOrLocalPasswd", "KerberosTicketCleanup", "ListenAddress", "LogVerbose", "Match",
    "ModuliFile", "PermitListen", "PermitOpen", "PermitTTY", "PermitUserRC", "PerSourceMaxStartups",
    "PerSourceNetBlockSize", "PerSourcePenalties", "PidFile", "PrintLastLog", "PubkeyAcceptedAlgorithms",
    "PubkeyAcceptedKeyTypes", "PubkeyAuthOptions", "RDomain", "RefuseConnection", "RekeyLimit", "RevokedKeys",
    "SecurityKeyProvider", "SetEnv", "SshdAuthPath", "SshdSessionPath", "StreamLocalBindMask",
    "StreamLocalBindUnlink", "TrustedUserCAKeys", "UnusedConnectionTimeout", "UseDNS", "VersionAddendum",
    "X11DisplayOffset", "X11UseLocalhost", "XAuthLocation",
)  # names, many a line # fmt: skip


@functools.cache
def _of_role() -> Mapping[str, str]:
    """What the role's own configuration sets: in small letters, as sshd compares it, and as it is written."""
    found = re.findall(r"^([A-Z][A-Za-z0-9]+) ", _TEMPLATE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name.lower(): name for name in (*found, "ChallengeResponseAuthentication")}


def _extra(problems: Problems, where: str, value: Any) -> None:
    """Options that sshd knows and the role does not set: of most of them sshd takes the first value. Match begins a
    block, in which all have a value of their own.
    """
    before = len(problems.found)
    _forms(problems, where, value)
    known = {**_of_role(), **{name.lower(): name for name in _FURTHER}}
    is_block = False
    for name, found in value.items() if len(problems.found) == before else ():
        place, key = f"{where}.{name}", name.lower()
        texts = [str(item) for item in (found if isinstance(found, list | tuple) else [found])]
        is_block = is_block or key == "match"
        if key not in known:
            problems.add(place, f"is no option of sshd{suggest(name, known.values())}")
        elif key == "port":
            problems.add(place, "is a further port, which the firewall does not know; set sshd_port")
        elif not is_block and key in _of_role() and key not in _SEVERAL:
            own = f"; set {_VARIABLES[key]}" if key in _VARIABLES else ""
            problems.add(place, f"would have no effect: the role sets it, and sshd takes the first value{own}")
        for text in texts or [""]:
            wrong = _wrong_text(key, text)
            if wrong:
                problems.add(place, wrong)


def _wrong_text(key: str, text: str) -> str:
    """What is wrong with the value of an option."""
    if not text.strip():
        return "is empty: sshd would not start"
    if re.search(r"(^|\s)#", text) or text.count('"') % 2:
        return f"has a comment, or a quotation mark that is not closed: {text!r}"
    if key == "listenaddress" and re.match(r"(\[.*\]|[^:\s]+):[0-9]+(\s|$)", text):
        return f"has a port, which the firewall would not know: {text!r}; set sshd_port"
    return "the role sets the subsystem sftp" if key == "subsystem" and text.split()[0].strip('"') == "sftp" else ""


def _banner(problems: Problems, where: str, value: Any) -> None:
    """A file, in whose name sshd reads nothing else."""
    kinds.path(empty=True)(problems, where, value)
    if isinstance(value, str) and re.search(r"""["'\\#]""", value):
        problems.add(where, f"has a quotation mark, a backslash or #, which sshd would read: {value!r}")


CHAPTER = Chapter(
    options={
        "sshd_port": kinds.port,
        "sshd_allow_groups": kinds.listed(kinds.any_account),
        "sshd_authorized_keys_files": kinds.listed(
            kinds.matching(
                r"""(?!~|.*(\.\.|["'#\\]))[!-~]+""",
                "a path without blanks and quotation marks, absolute or below the user's home (without ~)",
            ),
            empty=False,
        ),
        "sshd_rsa_bits": kinds.number(2048, 16384, "bits"),
        "sshd_max_auth_tries": kinds.number(1, 100, "attempts"),
        "sshd_max_sessions": kinds.number(1, 100, "sessions"),
        "sshd_banner": _banner,
        "sshd_extra_options": _extra,
        "sshd_window": kinds.number(10, 3600, "seconds"),
    },
    check=check,
)
