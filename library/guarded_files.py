#!/usr/bin/python
"""Change files that can lock the administrator out, under a rollback that the host carries out by itself."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guarded_files
short_description: Change files that can lock the administrator out, under a timed rollback on the host
description:
  - For the few files (firewall rules, sshd's configuration) whose change can end all connections to the host.
  - Every candidate is validated first. Then the host arms a rollback of its own (a systemd timer, and a
    service for the case of a reboot), puts the files in place and runs C(apply). The action plugin of the
    same name proves that a NEW connection works and confirms, which ends the rollback. If nobody confirms
    within C(window) seconds, the host puts the old files back and runs C(restore).
  - The rollback needs nothing but systemd and a shell on the host, so no ruleset can cut it off.
  - A host that restarts before the confirmation rolls back while it boots.
options:
  name:
    description: Name of the guard, one for each set of files.
    type: str
    required: true
  files:
    description:
      - Absolute path to content, or to a mapping with C(content), C(mode) and C(validate) (a command in which
        C(%s) stands for the candidate). The files belong to root.
      - In place of C(content) a mapping may have C(src), C(template) and C(vars), as an entry of M(file_set).
    type: dict
    required: true
  apply:
    description: Shell command that brings the new files into force.
    type: str
    required: true
  restore:
    description: Shell command that brings the old files back into force. The default is C(apply).
    type: str
  in_force:
    description: Shell command that fails if files in place are not in force. They are then applied anew.
    type: str
  port:
    description: >-
      Port by which new connections come in once the change is in force, if that is another one. The action plugin
      connects to it.
    type: int
  window:
    description: Seconds after which an unconfirmed change is rolled back.
    type: int
    default: 60
  step:
    description: Which part to do. For the action plugin only.
    type: str
    choices: [compare, apply, status, confirm, restore]
    default: compare
  token:
    description: Names the change that is asked about or confirmed. For the action plugin only.
    type: str
    default: ""
  state_dir:
    description: Directory below which a change that waits for its confirmation is kept.
    type: path
    default: /var/lib/gatewright/guard
  unit_dir:
    description: Directory of systemd units.
    type: path
    default: /etc/systemd/system
  noted:
    description: What the action plugin has noted once all is in order; see M(file_set). For the plugin only.
    type: dict
    default: {}
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: Own the firewall's rules
  guarded_files:
    name: firewall
    files:
      /etc/nftables.conf:
        template: true
        mode: "0644"
        validate: nft -c -f %s
    apply: nft -f /etc/nftables.conf
"""

RETURN = r"""
changed_paths:
  description: Absolute paths that were (or, in check mode, would be) changed.
  type: list
  elements: str
  returned: always
proof:
  description: How the change was proved harmless, or why it could not be.
  type: str
  returned: when changed
"""

import contextlib
import os
import secrets
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_native
from ansible.module_utils.on_gateway import stat_cache

APPLY_DELAY = 0.3  # seconds from this process's end; the answer that names the token is out before the rules change
ANSWER_SECONDS = 5  # that this process gets to end
COMMAND_SECONDS = 60
FILE_KEYS = {"content", "mode", "validate"}
STEPS = ("compare", "apply", "status", "confirm", "restore")

RESTORE_SCRIPT = """\
#!/bin/sh
# Puts back what stood here before an unconfirmed change. Run by a timer, at boot, or by the next run.
cd {state} || exit 1
systemctl stop {unit}-apply.service 2>/dev/null
# Whoever renames `armed` first owns it: a confirmation that comes now finds nothing to confirm.
if [ -d restoring ] || mv -T armed restoring 2>/dev/null; then
{puts}
    sync
    ( {command} ) || echo 'the old state could not be brought into force' >&2
    date -u +%Y-%m-%dT%H:%M:%SZ > restored.new && mv restored.new restored
    rm -rf restoring
    echo 'an unconfirmed change was rolled back'
fi
systemctl stop {unit}.timer 2>/dev/null
rm -f {unit_dir}/{unit}.timer {unit_dir}/{unit}.service {unit_dir}/multi-user.target.wants/{unit}.service
systemctl daemon-reload
"""

APPLY_SCRIPT = """\
#!/bin/sh
cd {state}/armed || exit 1
( {command} ) > output 2>&1
echo $? > applied.new
mv applied.new applied
"""

SERVICE = """\
[Unit]
Description=Roll back an unconfirmed change of {name}
RequiresMountsFor={state}
After=nftables.service ssh.service

[Service]
Type=oneshot
TimeoutStartSec=120
ExecStart=/bin/sh {state}/restore

[Install]
WantedBy=multi-user.target
"""

TIMER = """\
[Unit]
Description=Time limit for the confirmation of a change of {name}

[Timer]
OnActiveSec={window}
AccuracySec=100ms
"""


class GuardError(Exception):
    """Something that stops the change; the message is for the administrator."""


@dataclass(frozen=True)
class Wanted:
    """A file as it shall be; validate is a command with %s, or empty."""

    path: str
    content: bytes
    mode: int
    validate: str


def parse_file(path: str, value: object) -> Wanted:
    """Turn one item of `files` into a Wanted."""
    if isinstance(value, str):
        value = {"content": value}
    if not os.path.isabs(path):
        raise GuardError(f"{path}: not an absolute path")
    if not isinstance(value, dict) or not isinstance(value.get("content"), str):
        raise GuardError(f"{path}: a file needs its content as a string")
    if unknown := sorted(set(value) - FILE_KEYS):
        raise GuardError(f"{path}: unknown key {unknown[0]!r}")
    try:
        mode = int(str(value.get("mode", "0644")), 8)
    except ValueError:
        raise GuardError(f"{path}: mode {value['mode']!r} is not octal") from None
    validate = value.get("validate") or ""
    if validate and "%s" not in validate:
        raise GuardError(f"{path}: validate must have %s for the candidate")
    return Wanted(path, value["content"].encode(), mode, validate)


def differs(wanted: Wanted) -> bool:
    """Whether a file's content, mode or owner is not what it shall be."""
    try:
        status = os.lstat(wanted.path)
        if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) != wanted.mode:
            return True
        return status.st_uid != os.geteuid() or Path(wanted.path).read_bytes() != wanted.content
    except FileNotFoundError:
        return True


def put(path: str, content: bytes, mode: int) -> None:
    """Write a file beside its target and rename it into place."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".guarded.", dir=os.path.dirname(path))
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            os.fchmod(handle.fileno(), mode)
            handle.flush()
            os.fsync(handle.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_through(path: Path) -> None:
    """Have a file, or a folder's list of names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_back(number: int, path: str) -> str:
    """Return the shell lines that bring one saved file back, or remove it if there was none."""
    target, saved = shlex.quote(path), f"restoring/{number}"
    copy = f"cp -a {saved} {target}.restored && mv -fT {target}.restored {target}"
    return f"    if [ -e {saved} ] || [ -L {saved} ]; then {copy}; else rm -f {target}; fi"


def run_shell(command: str) -> tuple[int, str]:
    """Run a command within a bounded time; return its code and all it said."""
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


def must_run(command: str, purpose: str) -> None:
    """Run a command that has to succeed."""
    code, output = run_shell(command)
    if code:
        raise GuardError(f"{purpose}: {command!r} ended with {code}: {output}")


class Guard:
    """The host's side: what is saved, and the units that bring it back."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.name: str = params["name"]
        self.state: Path = Path(params["state_dir"]) / self.name
        self.armed: Path = self.state / "armed"
        self.unit_dir = Path(params["unit_dir"])
        self.unit = f"gatewright-guard-{self.name}"
        self.at_boot = self.unit_dir / "multi-user.target.wants" / f"{self.unit}.service"
        self.window: int = params["window"]
        self.apply_command: str = params["apply"]
        self.restore_command: str = params["restore"] or params["apply"]

    def pending(self) -> bool:
        """Whether a change waits for its confirmation, or a rollback was cut short."""
        return self.armed.is_dir() or (self.state / "restoring").is_dir()

    def token(self) -> str:
        """Return the name of the change that waits, or nothing."""
        with contextlib.suppress(FileNotFoundError):
            return (self.armed / "token").read_text()
        return ""

    def arm(self, paths: Sequence[str]) -> str:
        """Save the files and start the rollback's timer. Nothing has been changed before it runs."""
        shutil.rmtree(self.state, ignore_errors=True)
        self.armed.mkdir(parents=True, mode=0o700)
        for number, path in enumerate(paths):
            if os.path.lexists(path):
                self._save(path, self.armed / str(number))
        token = secrets.token_hex(8)
        (self.armed / "token").write_text(token)
        state = shlex.quote(str(self.state))
        facts = {"name": self.name, "state": state, "unit": self.unit, "window": self.window}
        puts = "\n".join(put_back(number, path) for number, path in enumerate(paths))
        restore = RESTORE_SCRIPT.format(
            puts=puts, command=self.restore_command, unit_dir=shlex.quote(str(self.unit_dir)), **facts
        )
        put(str(self.state / "restore"), restore.encode(), 0o700)
        apply_script = APPLY_SCRIPT.format(command=self.apply_command, **facts)
        put(str(self.state / "apply"), apply_script.encode(), 0o700)
        put(str(self.unit_dir / f"{self.unit}.service"), SERVICE.format(**facts).encode(), 0o644)
        put(str(self.unit_dir / f"{self.unit}.timer"), TIMER.format(**facts).encode(), 0o644)
        self.at_boot.parent.mkdir(exist_ok=True)
        self.at_boot.unlink(missing_ok=True)
        self.at_boot.symlink_to(f"../{self.unit}.service")
        self._write_through()
        refusal = "the rollback cannot be armed, so nothing was changed"
        try:
            must_run(f"systemctl daemon-reload && systemctl start {self.unit}.timer", refusal)
        except GuardError:
            self.disarm()
            raise
        return token

    def disarm(self) -> None:
        """Remove the rollback and all it kept."""
        run_shell(f"systemctl stop {self.unit}.timer")
        for unit in (self.at_boot, *(self.unit_dir / f"{self.unit}.{suffix}" for suffix in ("timer", "service"))):
            unit.unlink(missing_ok=True)
        run_shell("systemctl daemon-reload")
        shutil.rmtree(self.state, ignore_errors=True)

    def _write_through(self) -> None:
        """Have all that the rollback needs on the disk, so that no loss of power comes between."""
        folders = (self.armed, self.state, *self.state.parents[:2], self.at_boot.parent, self.unit_dir)
        for path in (*self.armed.iterdir(), *folders):
            if not path.is_symlink():
                write_through(path)

    @staticmethod
    def _save(path: str, target: Path) -> None:
        """Copy a file with its owner and mode."""
        shutil.copy2(path, target, follow_symlinks=False)
        status = os.lstat(path)
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)

    def start_apply(self) -> None:
        """Have systemd run the apply command a moment after this process's end, free of this connection."""
        answered = f"/usr/bin/timeout {ANSWER_SECONDS} /usr/bin/tail -s 0.1 --pid={os.getpid()} -f /dev/null"
        command = ["systemd-run", "--quiet", "--collect", "--no-block", f"--unit={self.unit}-apply"]
        command += [f"--property=ExecStartPre={word}" for word in (f"-{answered}", f"/usr/bin/sleep {APPLY_DELAY}")]
        must_run(shlex.join([*command, "/bin/sh", str(self.state / "apply")]), "the change cannot be applied")

    def status(self, token: str) -> dict[str, Any]:
        """Return how far the change of that name has come."""
        ours = bool(token) and self.token() == token
        applied = self.armed / "applied"
        code = int(applied.read_text()) if ours and applied.exists() else None
        output = (self.armed / "output").read_text(errors="replace").strip() if code is not None else ""
        return {"armed": ours, "applied": code, "output": output, "restored": self.restored()}

    def restored(self) -> str:
        """Return when the last rollback was done, in UTC, or nothing."""
        with contextlib.suppress(FileNotFoundError):
            return (self.state / "restored").read_text().strip()
        return ""

    def confirm(self, token: str) -> None:
        """End the rollback of the change of that name."""
        confirmed = self.state / "confirmed"
        if self.token() != token:
            raise GuardError(f"{self.name}: the change was rolled back before it was confirmed")
        try:
            self.armed.rename(confirmed)
        except FileNotFoundError:
            raise GuardError(f"{self.name}: the change was rolled back before it was confirmed") from None
        self.disarm()

    def restore(self) -> None:
        """Roll back now."""
        must_run(f"/bin/sh {shlex.quote(str(self.state / 'restore'))}", "the old state cannot be restored")


def validate(module: AnsibleModule, wanted: Wanted) -> None:
    """Run a file's check on its candidate, before anything is changed."""
    if not wanted.validate:
        return
    program = wanted.validate.split()[0]
    if module.check_mode and not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
        module.warn(f"{wanted.path}: not validated, {program} is not installed yet")
        return
    with tempfile.NamedTemporaryFile(prefix="guarded.", suffix=Path(wanted.path).suffix) as candidate:
        candidate.write(wanted.content)
        candidate.flush()
        code, output = run_shell(wanted.validate.replace("%s", shlex.quote(candidate.name)))
    if code:
        output = output.replace(candidate.name, wanted.path)
        raise GuardError(f"{wanted.path}: refused by {program}, nothing was changed: {output}")


def diff_of(wanted: Wanted) -> dict[str, str]:
    """Return the before and after of a file as Ansible shows them."""
    before = ""
    with contextlib.suppress(FileNotFoundError):
        before = f"mode {stat.S_IMODE(os.stat(wanted.path).st_mode):04o}\n"
        before += Path(wanted.path).read_text(errors="backslashreplace")
    after = f"mode {wanted.mode:04o}\n" + wanted.content.decode()
    return {"before_header": wanted.path, "after_header": wanted.path, "before": before, "after": after}


def compare(module: AnsibleModule, guard: Guard, wanted: Sequence[Wanted]) -> dict[str, Any]:
    """Say what differs and whether it would be accepted; a change left by a dead run is ended first."""
    leftover = guard.pending()
    if leftover and module.check_mode:
        module.warn(f"{guard.name}: a change waits for its confirmation; the comparison is with that change")
    elif leftover:
        guard.restore()
        module.warn(f"{guard.name}: an earlier run left its change unconfirmed; it was rolled back first")
    pending = [item for item in wanted if differs(item)]
    for item in pending:
        validate(module, item)
    idle = False
    if not pending and module.params["in_force"]:
        idle = run_shell(module.params["in_force"])[0] != 0
    diff = [diff_of(item) for item in pending]
    if idle:
        diff = [{"before": f"{guard.name}: in place, not in force\n", "after": f"{guard.name}: in force\n"}]
    return {"changed": bool(pending) or idle, "changed_paths": [item.path for item in pending], "diff": diff}


def note(module: AnsibleModule, guard: Guard, wanted: Sequence[Wanted]) -> None:
    """Note for the next run that the files are in place and in force, and that no change waits for its confirmation."""
    command = module.params["in_force"]
    looks = [("file", item.path) for item in wanted]
    looks += [("absent", str(guard.armed)), ("absent", str(guard.state / "restoring"))]
    looks += [("succeeds", command)] if command else []

    def is_right() -> bool:
        return not any(map(differs, wanted)) and not (command and run_shell(command)[0])

    stat_cache.keep(module.params["noted"], looks, {"changed_paths": []}, is_right)


def apply(guard: Guard, wanted: Sequence[Wanted]) -> dict[str, Any]:
    """Arm the rollback, put the files in place and have them applied."""
    token = guard.arm([item.path for item in wanted])
    try:
        for item in wanted:
            put(item.path, item.content, item.mode)
        guard.start_apply()
    except (OSError, GuardError) as error:
        guard.restore()
        raise GuardError(f"{error}; the old state was restored") from error
    return {"changed": True, "token": token}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do one step."""
    os.umask(0o022)  # directories on the way to a file are everybody's to enter, whatever root's umask is
    guard = Guard(module.params)
    wanted = [parse_file(path, value) for path, value in module.params["files"].items()]
    token = module.params["token"]
    step = module.params["step"]
    if step == "apply" and not module.check_mode:
        return apply(guard, wanted)
    if step == "status":
        return guard.status(token)
    if step == "confirm":
        guard.confirm(token)
        note(module, guard, wanted)
        return {"confirmed": True}
    if step == "restore":
        if guard.token() == token:
            guard.restore()
        return guard.status(token)
    found = compare(module, guard, wanted)
    if not found["changed"] and not module.check_mode:
        note(module, guard, wanted)
    return found


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": {"type": "dict", "required": True},
            "apply": {"type": "str", "required": True},
            "restore": {"type": "str"},
            "in_force": {"type": "str"},
            "port": {"type": "int"},
            "window": {"type": "int", "default": 60},
            "step": {"type": "str", "default": "compare", "choices": list(STEPS)},
            "token": {"type": "str", "default": "", "no_log": False},
            "state_dir": {"type": "path", "default": "/var/lib/gatewright/guard"},
            "unit_dir": {"type": "path", "default": "/etc/systemd/system"},
            "noted": stat_cache.NOTED,
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except (GuardError, OSError, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=to_native(error))


if __name__ == "__main__":
    main()
