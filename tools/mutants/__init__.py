"""Mutation testing: small faults are put into a room of the house, one at a time, and its tests must notice each.

`make mutants` runs it. mutmut 3 and cosmic-ray 8 were tried first. mutmut changes nothing outside functions and nothing
that is decorated, so that neither the rows of the table of operators nor the properties of a record would be tested;
cosmic-ray starts Python anew for every mutant, and with torch to import one took 50 s.
"""
