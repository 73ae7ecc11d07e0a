"""A Python client of a city's server.

with Twin("https://city.example", key=os.environ.get("TWIN_KEY")) as city:
    buildings = city.layer("construction.buildings")
    tall = buildings.to_geodataframe(bbox=(106.69, 10.76, 106.71, 10.79), where="height > 40")
    level = city.stream(12).series(every="1h")
    result = city.publish("houses.gpkg", "construction.houses", reason="survey of May")
"""

from twin.client.city import Place, Twin
from twin.client.layer import Description, Layer
from twin.client.live import Current, LayerChange, LiveEvent, StateChange, StreamValue
from twin.client.publishing import JobResult, Progress
from twin.client.streams import Stream

__all__ = [
    "Current", "Description", "JobResult", "Layer", "LayerChange", "LiveEvent", "Place", "Progress", "StateChange",
    "Stream", "StreamValue", "Twin",
]  # fmt: skip
