"""CQL2: parsed within limits, and made into SQL with bound values."""
