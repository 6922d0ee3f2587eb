"""Files that come, go and stay on a box: blobs, inputs, transfers, tidying."""
