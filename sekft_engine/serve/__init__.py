"""Serve a base and its adapters over HTTP, as OpenAI's API."""
