"""Scenarios: captures of what clients, servers and attackers do, from a few lines each."""
