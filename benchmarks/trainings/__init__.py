"""Trainings that fail, each with the twin that goes well, and healthy ones: when the first right alarm comes."""
