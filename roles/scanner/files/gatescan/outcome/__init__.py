"""What becomes of a message that was judged: the decision, the quarantine, notices and the journal."""
