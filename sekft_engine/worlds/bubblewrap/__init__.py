"""Worlds in bubblewrap."""
