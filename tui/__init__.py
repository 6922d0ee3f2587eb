"""What operators look at and type: the command line and the terminal screens."""
