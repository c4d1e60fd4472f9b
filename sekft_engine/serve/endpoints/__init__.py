"""What the paths of the API answer."""
