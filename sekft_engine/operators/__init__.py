"""Operators, who type in episodes: models on this machine, and models behind servers."""
