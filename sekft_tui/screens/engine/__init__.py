"""The engine: what it is and does, its queue, and what to do where it is gone."""
