"""Who may read and publish what."""
