"""The running kernel's parameters."""

from __future__ import annotations

import os
from dataclasses import dataclass

PLACE = "/proc/sys"


@dataclass(frozen=True)
class Parameter:
    """A kernel parameter by its name, with dots; root is where the kernel shows it."""

    root: str
    name: str

    @property
    def path(self) -> str:
        """Its file; dots part the words, a slash stands for a dot inside one."""
        return os.path.join(self.root, self.name.translate(str.maketrans("./", "/.")))

    def read(self) -> str | None:
        """Return its value with single blanks; None where the kernel has none such, "" where it may not be read."""
        try:
            with open(self.path) as handle:
                return " ".join(handle.read().split())
        except FileNotFoundError:
            return None
        except OSError:
            return ""

    def write(self, value: str) -> bool:
        """Set it; return whether it took."""
        try:
            with open(self.path, "w") as handle:
                handle.write(f"{value}\n")
        except OSError:
            return False
        return self.read() == value

    def is_writable(self) -> bool:
        """Whether a write might succeed; what the kernel itself refuses shows only when it is tried."""
        try:
            return os.access(self.path, os.W_OK) and not os.statvfs(self.path).f_flag & os.ST_RDONLY
        except OSError:
            return False
