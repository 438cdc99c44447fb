"""gatekeeper: says for whom, from whom and how much mail comes in, in Postfix's policy delegation protocol."""
