"""What a job may use while it runs: its context, and what is loaded."""
