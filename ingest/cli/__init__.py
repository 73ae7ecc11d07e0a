"""The commands of agencies: check, publish, history, layers of their own, cities."""
