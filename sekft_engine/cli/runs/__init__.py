"""``sekft runs``."""
