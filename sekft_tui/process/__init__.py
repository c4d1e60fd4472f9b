"""The process around the app: worker threads, signals, settings."""
