"""`/live`: what changes in the city, told while it happens."""
