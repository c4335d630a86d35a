"""Networks of public packages against a count that shares nothing with leaky: `python -m benchmarks.strangers`."""
