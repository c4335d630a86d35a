"""Rebuilt troubles with a known cause, each with a healthy twin: whether the first thing said is the cause."""
