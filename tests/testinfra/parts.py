"""Which file of tests runs where: on one gateway of a scenario or on each, and in which scenario."""

from __future__ import annotations

ONE_GATEWAY = {
    "test_cut_runs": "gw1",
    "test_cutoff": "gw2",
    "test_day": "gw1",
    "test_drain": "gw1",
    "test_engines_fail": "gw2",
    "test_engines_find": "gw1",
    "test_engines_inventory": "gw1",
    "test_fleet": "gw1",
    "test_going_back": "gw1",
    "test_greedy_strangers": "gw1",
    "test_guard": "gw1",
    "test_jobs": "gw1",
    "test_jobs_elsewhere": "gw1",
    "test_log_server": "gw2",
    "test_log_shipping": "gw1",
    "test_monitoring": "gw1",
    "test_no_loss": "gw1",
    "test_no_loss_out": "gw1",
    "test_notices": "gw2",
    "test_outbreak": "gw1",
    "test_page": "gw1",
    "test_qmailctl": "gw2",
    "test_quarantine": "gw1",
    "test_policy_daemon": "gw1",
    "test_relay_rights": "gw2",
    "test_relay_senders": "gw1",
    "test_release_by_reply": "gw1",
    "test_remove": "gw1",
    "test_reports": "gw1",
    "test_delivery": "gw1",
    "test_smtp_door": "gw1",
    "test_survey": "gw1",
    "test_verify": "gw1",
    "test_touched": "gw1",
}
"""Long files whose subject is the same on both distributions run on one; GATEWRIGHT_EVERYWHERE=1 runs them on all."""

LONG = {
    "test_delivery",
    "test_drain",
    "test_guard",
    "test_no_loss",
    "test_outbreak",
    "test_quarantine",
    "test_smtp_door",
    "test_survey",
    "test_verify",
}
"""Files of minutes, of those that run on one gateway: the scenario `long` has them, beside the default one, which has
all others (GATEWRIGHT_PART=long, GATEWRIGHT_PART=short)."""
