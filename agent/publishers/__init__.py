"""Publishers: what puts a finished result in its place, one kind a file."""
