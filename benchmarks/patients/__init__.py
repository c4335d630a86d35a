"""Patients of kinds that the trouble suite lacks, each with a healthy twin; half of the kinds were never tuned on."""
