"""Fine-tune an adapter on the resident base: rows, batches, loss, steps."""
