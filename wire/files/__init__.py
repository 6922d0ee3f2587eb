"""Files that are there whole or not at all, and folders that nobody trusts."""
