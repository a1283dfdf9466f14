"""Scenarios: small captures of what clients, servers and attackers do, made from a few lines each."""
