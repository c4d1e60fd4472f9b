"""Take an adapter out of the workshop: merged, ready for GGUF, or laid out as a Hub repository."""
