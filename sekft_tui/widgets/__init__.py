"""Widgets: each draws lines on demand and knows nothing of the engine."""
