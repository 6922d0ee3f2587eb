"""What the agent remembers: tables, queries, and the mirror in memory that everybody reads."""
