"""The lab's fixtures, for a gateway that is a virtual machine (`make test-vm`)."""

from tests.testinfra.conftest import gateway, office, outside

__all__ = ["gateway", "office", "outside"]
