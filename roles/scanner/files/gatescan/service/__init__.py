"""The daemon: its master and workers, what they tell each other, and how the queue client talks to them."""
