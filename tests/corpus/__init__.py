"""A generated corpus of hostile mail and its harmless look-alikes; nothing of it is stored."""
