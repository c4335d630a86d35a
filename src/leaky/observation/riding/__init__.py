"""A model's sites seen again without the tracer: traced once, then met by hooks and a table of calls."""
