"""Copies of a hub, and life after one was brought back."""
