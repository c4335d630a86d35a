"""Diagnoses for people: a terminal's table and a notebook's page, drawn from the same plain rows. Never imports torch."""
