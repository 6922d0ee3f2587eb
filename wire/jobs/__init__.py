"""The job specification: types, reading, rules."""
