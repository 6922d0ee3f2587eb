"""What an execution goes through, step by step."""
