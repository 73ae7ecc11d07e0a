"""Who may read and publish what: principals, keys, the sharing policy, and the permits every channel works from."""
