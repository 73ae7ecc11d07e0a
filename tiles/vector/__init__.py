"""Vector tiles: routes, SQL, batches, caches, tile matrix sets, baked archives."""
