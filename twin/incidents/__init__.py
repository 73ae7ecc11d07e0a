"""Incidents: alert rules, their evaluation, what they found, and how it is delivered."""
