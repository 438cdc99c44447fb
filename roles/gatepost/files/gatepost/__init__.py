"""gatepost: delivers qmail's mail to other servers, in qmail-remote's place."""
