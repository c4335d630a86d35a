"""Healthy trained networks of many kinds and sizes: nothing above a note may be said of them."""
