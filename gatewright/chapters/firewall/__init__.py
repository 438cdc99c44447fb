"""The firewall: the ruleset, and what is let in and out."""
