"""What the scanner holds and does."""
