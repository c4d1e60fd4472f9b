"""Attach adapters: read and check their files, and verify that the base stays unchanged.

``fields`` knows every field of adapter_config.json, ``patterns`` matches the regular expressions
in it within a bound, ``plan`` says which layers and tensors they mean on a base, ``weights`` reads
the adapter's file once it is known to hold exactly these, ``proof`` compares the base with its
original state (by ``sums`` over all its bits), ``rollback`` restores a model, and ``host`` does all
of this in order. ``named`` knows the adapters by the names that users give them, and ``writing``
writes one to disk. None of them changes a base.
"""
