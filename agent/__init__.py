"""The program on a box: bids for jobs, runs them, brings the results home."""
