"""The agent's settings: file, options, rules, limits."""
