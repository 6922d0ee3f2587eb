"""What executions print: streamed by nodes, read from results, joined for a job."""
