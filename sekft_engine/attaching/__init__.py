"""Attaching adapters: what is read of their files, what is refused, and the proof of the base.

``fields`` knows every field of adapter_config.json, ``patterns`` matches the regular expressions
in it within a bound, ``plan`` says which layers and tensors they mean on a base, ``weights`` reads
the adapter's file once it is known to hold exactly these, ``proof`` holds the base against what it
was (by ``sums`` over all its bits), ``rollback`` puts a model back as it was, and ``host`` does all
of it in order. None of them changes a base.
"""
