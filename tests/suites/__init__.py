"""Suites of messages that nobody here wrote, put to the scanner and to other readers of mail; see test_suites.py."""
