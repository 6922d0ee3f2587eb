"""What the OpenAPI document says of each operation: its name, what it takes, and what it answers."""
