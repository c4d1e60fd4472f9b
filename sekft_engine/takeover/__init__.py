"""Take-over: a person types on where a recorded session had come to."""
