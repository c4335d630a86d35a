"""A study at work: what every process of it does, in this process, in several, or in Ray tasks."""
