"""sekft's engine: everything but the screens. Importing it never imports torch or textual."""

__version__ = "0.2.0"
