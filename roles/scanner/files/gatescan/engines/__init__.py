"""Engines: antivirus and spam scanners behind one adapter interface, asked together about each message."""
