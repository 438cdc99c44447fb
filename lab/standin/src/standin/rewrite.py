"""Where an address goes: to this host's users (local) or to another host (remote)."""

from __future__ import annotations

from standin import control


class Rewriter:
    """locals, virtualdomains, percenthack and envnoathost, as read at the start or at the last SIGHUP."""

    def __init__(self) -> None:
        self.default = control.read_line("envnoathost", "me")
        self.percenthack = control.read_set("percenthack") or set()
        self.reread()

    def reread(self) -> None:
        """Read again what SIGHUP makes qmail-send read again."""
        lines = control.read_set("locals")
        self.locals = {control.read_line("me").lower()} if lines is None else lines
        self.virtualdomains = control.read_map("virtualdomains")

    def rewrite(self, address: bytes) -> tuple[str, bytes]:
        """The channel (local or remote) and the address with which it goes on."""
        local, at, domain = address.rpartition(b"@")
        if not at:
            local, domain = address, self.default
        while b"%" in local and domain.lower() in self.percenthack:
            local, _, domain = local.rpartition(b"%")
        address = local + b"@" + domain
        if domain.lower() in self.locals:
            return "local", address
        for name in (address.lower(), *control.suffixes(domain), b""):
            if name in self.virtualdomains:
                prefix = self.virtualdomains[name]
                return ("local", prefix + b"-" + address) if prefix else ("remote", address)
        return "remote", address

    def original(self, address: bytes) -> bytes:
        """An address without what virtualdomains put before it: so its sender knows it."""
        domain = address.rpartition(b"@")[2]
        if domain.lower() in self.locals:
            return address
        for prefix in self.virtualdomains.values():
            if prefix and address.startswith(prefix + b"-"):
                return address[len(prefix) + 1 :]
        return address
