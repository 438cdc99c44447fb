"""What a gateway alone has, in one encrypted archive: taken with the gateway running, and brought back on a fresh host.

An archive is a tar, compressed and encrypted by age, whose first member, `gatewright.json`, says what it is
(state.Manifest). The others bear the path that they had. Owners stand by name, as numbers are another host's matter.
"""
