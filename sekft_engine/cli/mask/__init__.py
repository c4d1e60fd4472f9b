"""``sekft mask``."""
