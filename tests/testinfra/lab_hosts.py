"""The lab's hosts, as tests import them. GATEWRIGHT_GATEWAYS names the gateways that are looked at."""

import os

from lab.talk import Gateway, LabHost, Peer, Reply, eventually, lab_host, token

GATEWAYS = os.environ.get("GATEWRIGHT_GATEWAYS", "gw1,gw2").split(",")

__all__ = ["GATEWAYS", "Gateway", "LabHost", "Peer", "Reply", "eventually", "lab_host", "token"]
