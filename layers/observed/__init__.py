"""What streams of observations mean: one module for each kind of thing observed, with pure functions over numbers."""
