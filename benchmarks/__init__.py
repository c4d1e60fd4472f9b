"""Benchmarks; each prints a table, or with --json a document."""
