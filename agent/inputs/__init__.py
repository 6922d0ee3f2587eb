"""Input sources: what brings data to an execution, one source a file."""
