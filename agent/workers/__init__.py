"""Entry points of child processes. Never imported by the core."""
