"""The lab's stand-in for qmail: its commands, files and exit codes in small Python programs. Never a mail server."""
