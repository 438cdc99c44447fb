"""`gw trace` on a gateway: search.py is where it begins, and each log has a file."""
