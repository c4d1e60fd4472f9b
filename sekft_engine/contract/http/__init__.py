"""One HTTP connection to a server: proxies, certificates, addresses, bodies."""
