"""A small gateway without any privilege: the mail path alone, on loopback ports, in one folder that goes at the end.

Real qmail where its archive is in $GATEWRIGHT_ARTIFACTS, else the stand-in; tcpserver; the scanner, gatekeeper and
gatepost; configured by the project's own code from inventory/example. It has no firewall, no hardening and no
supervision: those need a host. The demonstration falls back to it, and quick tests from end to end use it.
"""
