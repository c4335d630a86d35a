"""Diagnoses for people: a table on a terminal, a page in a notebook, from the same plain rows. Never imports torch."""
