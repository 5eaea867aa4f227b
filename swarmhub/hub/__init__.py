"""The hub's own configuration file, used in its container."""
