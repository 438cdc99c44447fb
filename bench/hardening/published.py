"""Figures of others, measured once on 2026-11-22 on the same kind of host; their collections cannot be had here.

A richer stock host was their start (cups, avahi, rpcbind and the like installed), so compare what is left after, not
how far each came. Values are (Debian 12, Debian 13).
"""

from __future__ import annotations

FIGURES: dict[str, dict[str, tuple[str, str]]] = {
    "dev-sec 10.6.0": {
        "Lynis index": ("72", "71"),
        "standard": ("32/10", "32/10"),
        "anssi_bp28_minimal": ("19/8", "19/8"),
        "anssi_bp28_intermediary": ("97/78", "98/78"),
        "anssi_bp28_enhanced": ("109/148", "108/148"),
        "anssi_bp28_high": ("130/199", "130/199"),
        "cis_level1_server": ("257/75", "260/87"),
        "cis_level2_server": ("283/147", "282/174"),
        "ssh-audit": ("policy failed", "policy failed"),
        "sockets off loopback": ("9", "9"),
        "set-id files": ("18", "18"),
        "failed units": ("4", "5"),
    },
    "konstruktoid 2026-08": {
        "Lynis index": ("80", "79"),
        "standard": ("29/13", "29/13"),
        "anssi_bp28_minimal": ("32/3", "32/3"),
        "anssi_bp28_intermediary": ("102/82", "103/82"),
        "anssi_bp28_enhanced": ("146/121", "145/121"),
        "anssi_bp28_high": ("167/173", "167/173"),
        "cis_level1_server": ("276/72", "281/81"),
        "cis_level2_server": ("334/113", "336/136"),
        "ssh-audit": ("policy failed", "policy failed"),
        "sockets off loopback": ("5", "5"),
        "set-id files": ("23", "23"),
        "failed units": ("4", "5"),
    },
}
