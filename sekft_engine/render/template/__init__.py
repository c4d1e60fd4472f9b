"""The tokenizer and the chat template, and what can be proven of a template."""
