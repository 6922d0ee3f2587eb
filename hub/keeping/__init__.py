"""What the hub keeps, for how long, and what it does once a day."""
