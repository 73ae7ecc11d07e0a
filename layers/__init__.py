"""What the city's themes mean: one module a theme, each a contract that features of any agency follow."""
