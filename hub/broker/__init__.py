"""The private mosquitto of a hub."""
