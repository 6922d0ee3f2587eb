"""Puts the agent on a box and takes it to another release: two slots, one of which is current. No work is touched."""
