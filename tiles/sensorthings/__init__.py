"""SensorThings: the entities of `live` as OGC SensorThings API 1.1 has them, at `/sta/v1.1`."""
