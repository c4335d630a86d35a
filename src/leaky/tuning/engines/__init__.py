"""What trains: one model at a time, stacks of variants, processes, or the user's own objective."""
