"""Observation while a model trains: the same sums at every step, reports, alarms, the log."""
