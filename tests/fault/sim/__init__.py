"""A deterministic simulation of one hub and its nodes: the real parts, a modelled broker and disk, virtual time."""
