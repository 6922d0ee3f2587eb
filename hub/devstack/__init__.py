"""A whole fleet on one machine: `tender devstack`."""
