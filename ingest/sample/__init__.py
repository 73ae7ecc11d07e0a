"""A synthetic riverside city, the same for the same seed: for demonstrations, tests and benchmarks."""

from ingest.sample.city import SampleCity, SampleLayer, generate

__all__ = ["SampleCity", "SampleLayer", "generate"]
