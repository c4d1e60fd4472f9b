"""The resident base: loaded once, adapters attached to it, its kernels."""
