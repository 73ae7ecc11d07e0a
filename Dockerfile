# The program in a container. The database stands outside: give its address in TWIN_DATABASE_URL (see compose.yaml).
#   docker build --tag city-twin .
#   docker run --rm --publish 127.0.0.1:8000:8000 --env TWIN_DATABASE_URL=postgresql://user:password@host/city city-twin

FROM python:3.11-slim-bookworm AS builder

# A virtual environment is one folder, so the second stage can take it whole and leave pip's cache and the sources here.
RUN python -m venv /opt/twin
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY twin/ twin/
COPY layers/ layers/
COPY ingest/ ingest/
COPY tiles/ tiles/
COPY viewer/ viewer/
# Every dependency comes as a wheel: nothing is compiled here, and a version without a wheel should fail the build.
RUN /opt/twin/bin/pip install --no-cache-dir --only-binary=:all: --no-binary=city-twin --constraint constraints.txt .

FROM python:3.11-slim-bookworm

# The wheels of osmium and rasterio load the system's libexpat, which the slim image does not have. Mosquitto is the
# broker that devices connect to; it runs as a child of `twin ingest stream run`.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libexpat1 mosquitto \
    && rm -rf /var/lib/apt/lists/*

# A fixed number, so that an orchestrator can check that the user is not root, and a home that is its own: without
# TWIN_DATABASE_URL the program then says what is missing, instead of failing on a folder it may not write.
RUN useradd --uid 10001 --create-home --home-dir /home/twin --shell /usr/sbin/nologin twin \
    # A volume that is mounted here belongs to whom the folder belongs to.
    && install --directory --owner=twin --mode=0700 /home/twin/files
COPY --from=builder /opt/twin /opt/twin

# Logs appear at once; the program may not write byte code beside itself, so it need not try.
ENV PATH=/opt/twin/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /home/twin
EXPOSE 8000

# /health answers 200 only when the database answers too. The image has no curl; Python raises on 503, which ends with 1.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]

# 0.0.0.0 is the container's own network; what the world reaches is decided by what the container publishes.
ENTRYPOINT ["twin"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
