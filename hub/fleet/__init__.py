"""The nodes: who takes part, who is away, who holds what."""
