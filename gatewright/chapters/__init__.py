"""A room for each role: how its variables are read and checked, and what is made of them."""
