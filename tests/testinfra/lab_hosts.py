"""The lab's hosts, as tests import them."""

from lab.talk import Gateway, LabHost, Peer, Reply, eventually, lab_host, token

__all__ = ["Gateway", "LabHost", "Peer", "Reply", "eventually", "lab_host", "token"]
