"""The trainings of a study, kept so that a killed process loses at most the one that it was running."""
