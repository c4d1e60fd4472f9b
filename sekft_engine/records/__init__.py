"""What is written down: jobs, events, journals, runs, adapters."""
