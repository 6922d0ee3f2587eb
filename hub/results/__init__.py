"""Results of executions: fetched from nodes, verified, packed, served."""
