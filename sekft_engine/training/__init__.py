"""Fine-tune adapters on the resident base."""
