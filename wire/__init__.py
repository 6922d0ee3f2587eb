"""The contract between hub and node, and how it is delivered. Nothing else belongs here."""
