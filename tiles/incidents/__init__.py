"""Incidents over HTTP: the rules of alerts, what they found, and what people do with it; live too."""
