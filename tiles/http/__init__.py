"""What all addresses share: the server's memory, principals, errors, limits, caches, metrics, the OpenAPI document."""
