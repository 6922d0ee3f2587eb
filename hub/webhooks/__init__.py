"""Webhooks: programs elsewhere that are told when jobs end."""
