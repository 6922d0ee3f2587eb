"""The demo: a small fleet on this machine runs real jobs, and every step is told."""
