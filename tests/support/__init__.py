"""What the end-to-end tests and the quickstart share: namespaces, brokers, clients, the daemon."""
