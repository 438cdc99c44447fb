"""What each engine costs a message, asked by gatescan and by its own client."""
