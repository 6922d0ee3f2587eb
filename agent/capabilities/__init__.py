"""What this box is and can: one group of facts a file, published as a whole when the set changes."""
