"""The resident engine's Unix socket: who may connect, what is said, and who is told what."""
