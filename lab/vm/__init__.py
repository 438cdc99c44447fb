"""A gateway as a machine of its own, for what a container cannot show: a disk, a stock Debian kernel, and qemu."""
