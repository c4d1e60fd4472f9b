"""The training loop: batches, packing, loss, accumulation, processes."""
