"""Worlds in podman or docker."""
