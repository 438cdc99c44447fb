"""Debian made strict: numbers, times, mount options, and programs with rights of their own."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gatewright import MANAGED, kinds
from gatewright.chapters import Chapter
from gatewright.chapters.firewall.reach import Way, check_server
from gatewright.chapters.foundation import BASE, accounts
from gatewright.inventory import Site
from gatewright.problems import Problems, entry_name, kind_of

# Mount options that a path may have, and what each would stop there: directories that are looked at from above.
_MOUNT_STOPS: dict[str, tuple[str, ...]] = {
    "nodev": ("/dev",),
    "nosuid": ("/usr/bin", "/usr/lib", "/usr/sbin", "/var/qmail/bin"),
    "noexec": (
        *(
            "/command",
            "/etc",
            "/opt",
            "/package",
            "/service",
            "/usr/bin",
            "/usr/lib",
            "/usr/local/bin",
            "/usr/local/lib",
        ),
        *(
            "/usr/local/sbin",
            "/usr/sbin",
            "/var/lib/dpkg",
            "/var/lib/gatewright",
            "/var/qmail/bin",
            "/var/qmail/supervise",
        ),
    ),
}
# Kernel modules that a gateway's firewall, disks, network cards and DHCP are: without them it does not come up again.
_NEEDED_MODULE = re.compile(
    r"nf_.*|nft_.*|nfnetlink.*|af_packet|unix|ext[234]|jbd2|mbcache|xfs|btrfs|(lib)?crc(16|32).*|dm_.*|md_mod|raid\d+"
    r"|scsi_mod|sd_mod|nvme.*|(lib)?ahci|libata|ata_.*|virtio.*|(net_)?failover|vmw_.*|vmxnet3|hv_.*|xen_.*"
)


def mounts(problems: Problems, name: str, value: Any) -> None:
    """Mount options that exist, on paths where they stop neither mail nor packages."""
    for path, options in value.items():
        where = f"{name}.{path}"
        if not re.fullmatch(r"/[^\s#]*", str(path)) or posixpath.normpath(path) != path:
            problems.add(where, "is not the absolute path of a mount point")
        elif not isinstance(options, list):
            problems.add(where, f"must be a list, not {kind_of(options)}")
        else:
            for option in map(str, options):
                _mount_option(problems, where, path, option)


@kinds.plain
def _module_off(value: Any) -> str:
    """A module that a gateway can do without. The kernel reads - and _ as one."""
    if isinstance(value, str) and _NEEDED_MODULE.fullmatch(value.replace("-", "_")):
        return "is a kernel module that a gateway needs, or does not come up without: it cannot be switched off"
    return ""


def _modules(problems: Problems, where: str, value: Any) -> None:
    kinds.module(problems, where, value)
    _module_off(problems, where, value)


def _mount_option(problems: Problems, where: str, path: str, option: str) -> None:
    if option not in _MOUNT_STOPS:
        problems.add(where, f"{option!r} is none of {', '.join(_MOUNT_STOPS)}")
        return
    stopped = [place for place in _MOUNT_STOPS[option] if posixpath.commonpath((path, place)) == path]
    if stopped:
        problems.add(where, f"{option} would stop what is in {', '.join(stopped)}")


_directive = kinds.matching(r"[A-Z][A-Za-z0-9]+", "the name of a directive of systemd")
_directives = kinds.mapped(
    _directive, kinds.either("text or a list of texts", kinds.scalar, kinds.listed(kinds.line()))
)
# Directives that change which program svscan's unit starts, how or as whom: they are no part of a sandbox.
_NO_SANDBOX = re.compile(
    r"Exec(Condition|Reload|Start|Stop).*|Type|User|Group|DynamicUser|Root(Directory|Image).*|PIDFile|BusName|PAMName"
    r"|RemainAfterExit|RuntimeMaxSec|Sockets|StandardInput.*|NetworkNamespacePath"
)
# Directives that can have one value only, as with the other one no message is taken any more.
_MUST_BE_OFF = {
    "NoNewPrivileges": "set-uid qmail-queue would gain nothing, and every message be answered with 451",
    "PrivateNetwork": "nobody could connect any more",
    "PrivateUsers": "set-uid qmail-queue would gain nothing, and every message be answered with 451",
}
_OFF = ("0", "no", "n", "false", "f", "off")


def _sandbox(problems: Problems, where: str, value: Any) -> None:
    """Directives that confine services, and leave them able to work. What systemd does not know is not known here."""
    _directives(problems, where, value)
    for name, found in value.items():
        place = f"{where}.{name}"
        texts = [str(item) for item in (found if isinstance(found, list | tuple) else [found])]
        if _NO_SANDBOX.fullmatch(str(name)):
            problems.add(
                place, "is no part of a sandbox: it changes how svscan's service starts, which then would not run"
            )
        elif name in _MUST_BE_OFF and any(text.strip().lower() not in _OFF for text in texts):
            problems.add(place, f"must be no: {_MUST_BE_OFF[name]}")
        if any(re.search(r"(^|\s)#|\\$", text) for text in texts):
            problems.add(place, "has a comment or a backslash at its end, which systemd would take for a part of it")


@kinds.plain
def _umask(value: Any) -> str:
    """What takes from others the right to write, and nothing from the owner."""
    if not isinstance(value, str) or not re.fullmatch("0?[0-7]{3}", value):
        return f'must be three octal digits in quotation marks, such as "027", not {value!r}'
    bits = int(value, 8)
    if bits & 0o700:
        return f"{value!r} takes rights from the owner of each new file: the first digit must be 0"
    return (
        "" if bits & 0o002 else f"{value!r} lets everybody write to each new file: the last digit must be 2, 3, 6 or 7"
    )


_sysctl = kinds.matching(
    r"[a-z0-9_]+([./][A-Za-z0-9_*-]+)+", "the name of a kernel setting, such as net.ipv4.ip_forward"
)


def _sysctl_value(problems: Problems, where: str, value: Any) -> None:
    """A number or text: the kernel knows no true and false."""
    kinds.scalar(problems, where, value)
    if isinstance(value, bool):
        problems.add(where, f"must be a number or text, which the kernel takes: write {int(value)}, not {value!r}")


_program = kinds.path()
WRITABLE = kinds.record(
    {"path": kinds.path(folder=True), "owner": kinds.account, "group": kinds.account, "mode": kinds.mode},
    needed=["path"],
)
"""A folder that services below svscan write to: the inventory's or a role's."""

# Folders that are Debian's or qmail's own, which services do not get whole: those looked at from above, as a folder is
# written to with all below it, and those of programs and of what root runs, in which no folder is a service's either.
_SYSTEM = (
    "/etc", "/home", "/opt", "/run", "/srv", "/tmp", "/usr/local", "/var/cache", "/var/lib", "/var/log", "/var/mail",
    "/var/qmail", "/var/spool", "/var/tmp",
)  # short names, many a line # fmt: skip
_PROGRAMS = (
    "/bin", "/boot", "/dev", "/lib", "/lib64", "/proc", "/root", "/sbin", "/sys", "/etc/apt", "/etc/cron.d",
    "/etc/pam.d", "/etc/ssh", "/etc/sudoers.d", "/etc/systemd", "/usr/bin", "/usr/lib", "/usr/sbin", "/usr/share",
    "/usr/local/bin", "/usr/local/lib/gatewright", "/usr/local/sbin", "/var/lib/apt", "/var/lib/dpkg",
    "/var/lib/systemd", "/var/qmail/bin", "/var/qmail/control", "/var/qmail/users", "/var/spool/cron",
)  # short names, many a line # fmt: skip
_SPECIAL = re.compile(r"[%\"'\\#$]")
"""Characters of a unit file that stand for something else, or end what they stand in."""


def check(site: Site, problems: Problems) -> None:
    """A certificate has its key; programs keep the rights that mail and logins need; folders are services' own."""
    site.check_pair(problems, "hardening_log_certificate", "hardening_log_key")
    ways = [Way(123, site.value("firewall_time_networks"))]
    for place, server in site.texts("hardening_time_servers"):
        check_server(site, problems, place, server, 123, "_chrony", ways, "firewall_time_networks must have it")
    needed = site.value("_hardening_setid_own")
    for place, path in site.texts("hardening_setid_stripped"):
        if re.sub(r"^/(s?bin|lib)/", r"/usr/\1/", path) in (needed or ()):
            problems.add(place, "needs its set-id bit on a gateway: it cannot be stripped")
    writable = site.value("hardening_svscan_writable")
    for index, entry in enumerate(writable if isinstance(writable, list | tuple) else ()):
        found = entry.get("path") if isinstance(entry, Mapping) else None
        if isinstance(found, str):
            _check_writable(problems, entry_name("hardening_svscan_writable", index, found), found, entry.get("mode"))


def _check_writable(problems: Problems, where: str, path: str, mode: Any) -> None:
    """A folder that services get for themselves."""
    if _SPECIAL.search(path):
        problems.add(f"{where}: path", "has a character to which systemd gives a meaning (% \" ' \\ # $)")
    above = any(_is_below(system, path) for system in (*_SYSTEM, *_PROGRAMS))
    if above or any(_is_below(path, programs) for programs in _PROGRAMS):
        problems.add(f"{where}: path", "is the system's own, and no folder of a service's; name one of its own")
    if not isinstance(mode, str) or not re.fullmatch("[0-7]{3,4}", mode):
        return  # its kind says what a mode is
    bits = int(mode, 8)
    if bits > 0o3777:
        problems.add(f"{where}: mode", f"{mode!r} has a set-uid bit, which means nothing for a folder")
    elif bits & 0o300 != 0o300 and bits & 0o030 != 0o030:
        problems.add(f"{where}: mode", f"{mode!r} lets neither owner nor group write to the folder")


def _is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder or something in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def remark(site: Site, remarks: Problems) -> None:
    """Logs that everybody on the way can read, and folders of accounts that only the host can know."""
    known = {kind: BASE[kind] | {account.name for account in accounts(site, kind)} for kind in BASE}
    writable = site.value("hardening_svscan_writable")
    for index, entry in enumerate(writable if isinstance(writable, list | tuple) else ()):
        for key, kind in (("owner", "users"), ("group", "groups")):
            name = entry.get(key)
            if name and name not in known[kind]:
                place = entry_name("hardening_svscan_writable", index, entry["path"])
                remarks.add(f"{place}: {key}", f"no role makes {name!r}: it must be on the host already")
    if site.value("hardening_log_server") and not site.value("hardening_log_tls"):
        remarks.add("hardening_log_server", "gets the logs in plain text; hardening_log_tls: true encrypts them")


CHAPTER = Chapter(
    options={
        "hardening_banner": kinds.text,
        "hardening_sysctl_extra": kinds.mapped(_sysctl, _sysctl_value),
        "hardening_kernel_modules_off": kinds.listed(_modules),
        "hardening_usb_rules": kinds.listed(
            kinds.matching(
                r"(allow|block|reject)(?=[ -~]*$)( [ -~]+)?",
                "a rule of usbguard-rules.conf: allow, block or reject, and what",
            )
        ),
        "hardening_mount_options": mounts,
        "hardening_shell_timeout": kinds.number(60, 86_400, "seconds"),
        "hardening_umask": _umask,
        "hardening_password_max_days": kinds.number(1, 99_999, "days"),
        "hardening_password_inactive_days": kinds.number(0, 99_999, "days"),
        "hardening_password_length": kinds.number(6, 128, "characters"),
        "hardening_password_attempts": kinds.number(1, 100, "attempts"),
        "hardening_password_lock_seconds": kinds.seconds,
        "hardening_su_gid": kinds.account_id,
        "hardening_cron_users": kinds.listed(kinds.any_account),
        "hardening_log_server": kinds.host_or_none,
        "hardening_log_server_port": kinds.port,
        "hardening_log_name": kinds.host_or_none,
        "hardening_log_authorities": kinds.path(),
        "hardening_log_certificate": kinds.path(empty=True),
        "hardening_log_key": kinds.path(empty=True),
        "hardening_journal_size": kinds.journal_size,
        "hardening_time_servers": kinds.listed(kinds.host, empty=False),
        "hardening_ban_exempt": kinds.cidr_networks,
        "hardening_ban_seconds": kinds.seconds,
        "hardening_reboot_window": kinds.calendar,
        "hardening_drain_seconds": kinds.number(0, 86_400, "seconds"),
        "hardening_integrity_schedule": kinds.schedule,
        "hardening_setid_stripped": kinds.listed(_program),
        "hardening_setid_allowed": kinds.listed(kinds.path(pattern=True)),
        "hardening_svscan_writable": kinds.listed(WRITABLE),
        "hardening_svscan_extra": _sandbox,
    },
    check=check,
    remark=remark,
)


def sandbox_files(
    own: Mapping[str, Mapping[str, Any]],
    filters: Mapping[str, Any],
    of_roles: Mapping[str, Mapping[str, Any]],
    *,
    seccomp: bool,
) -> dict[str, str]:
    """Return the drop-ins that confine units: path to text.

    own: unit to `plain`, `filtered` and `further` directives; of_roles: the same of other roles' units, which have the
    usual `filters` besides. seccomp: whether the host's systemd can set filters without taking set-uid programs their
    right; where it cannot, what is `filtered` is left out.
    """
    others = {unit: {**box, "filtered": {**filters, **box.get("filtered", {})}} for unit, box in of_roles.items()}
    return {
        f"/etc/systemd/system/{unit}.service.d/gatewright-sandbox.conf": "\n".join(_drop_in(box, seccomp)) + "\n"
        for unit, box in {**own, **others}.items()
    }


def _drop_in(box: Mapping[str, Any], seccomp: bool) -> Iterator[str]:
    filtered, further = box.get("filtered", {}), box.get("further", {})
    yield f"# {MANAGED}"
    if seccomp or not filtered:
        directives = {**box["plain"], **filtered, **further}
    else:
        yield f"# Without {' '.join(filtered)}:"
        yield "# this host's systemd could not set them without taking set-uid programs their right."
        directives = {**box["plain"], **{name: value for name, value in further.items() if name not in filtered}}
    yield "[Service]"
    for name, value in directives.items():
        yield from (f"{name}={item}" for item in (value if isinstance(value, list | tuple) else [value]))
