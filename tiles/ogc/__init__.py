"""What all counters share of OGC API: formats, parameters, links, schemas, collections, and the pages for people."""
