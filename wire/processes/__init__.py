"""Short programs run to their end, with nothing of them left behind."""
