"""Render many sessions: in parallel, packed, and cached on disk."""
