"""What a gateway alone has, kept on the controller: who can open it, and where it is."""

from __future__ import annotations

from gatewright import kinds
from gatewright.chapters import Chapter

RECIPIENT = kinds.matching(
    r"age1[0-9a-z]{58}|age1[0-9a-z]+1[0-9a-z]+|ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( [^\n]*)?",
    "a public key as age-keygen prints it (age1...), or one of SSH (ssh-ed25519, ssh-rsa)",
)
CHAPTER = Chapter(
    options={
        "backup_recipients": kinds.listed(RECIPIENT),
        "backup_directory": kinds.controller_folder(),
        "backup_keep": kinds.number(0, 10_000, "archives"),
    }
)
