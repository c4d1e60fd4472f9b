"""Trials of methods that training might use. What one has shown stands in docs/result.md."""
