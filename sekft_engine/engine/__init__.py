"""The engine: one thread that does jobs in order and publishes events."""
