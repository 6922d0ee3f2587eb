"""What runs executions, one engine a family of files behind `base.py`."""
