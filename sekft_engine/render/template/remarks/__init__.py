"""What is said of a base's tokenizer and template before any session is rendered."""
