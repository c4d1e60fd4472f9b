"""Keys, actions and the clipboard."""
