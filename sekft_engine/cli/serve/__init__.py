"""``sekft serve``: the base and its adapters behind OpenAI's API."""
