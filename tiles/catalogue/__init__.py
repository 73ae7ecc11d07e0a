"""The catalogue of the city's data: for programs as DCAT-AP, for people as pages."""
