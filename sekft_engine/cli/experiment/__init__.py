"""Commands about experiments: the whole one, improving an adapter, and a gate for CI."""
