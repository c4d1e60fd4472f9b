"""Reports of an eval: JSON document, tables, HTML page, recordings."""
