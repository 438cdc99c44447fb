"""What it costs to provision a gateway: a first run, a run that changes nothing, and one more relay client."""

import os

# A lab of its own beside the demonstration's; the lab reads this when it is imported.
os.environ.setdefault("GATEWRIGHT_LAB_NUMBER", "79")
