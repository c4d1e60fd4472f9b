"""Planning: will it fit, and how fast."""
