"""What was chosen at build time: `make` writes the conf- files' values over the marks."""

_USERS = "@USERS@"  # eight names, in conf-users' order
_GROUPS = "@GROUPS@"  # two names, in conf-groups' order

HOME = "@QMAIL@"
SPLIT = int("@SPLIT@")
SPAWN = int("@SPAWN@")
ALIAS, DAEMON, LOGGER, OWNER, PASSWD, QUEUE, REMOTE, SEND = _USERS.split()
QMAIL, NOFILES = _GROUPS.split()
