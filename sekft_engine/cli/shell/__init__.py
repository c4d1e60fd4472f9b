"""``sekft shell``: watch a model log in."""
