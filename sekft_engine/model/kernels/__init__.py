"""Faster replacements for layers and operations."""
