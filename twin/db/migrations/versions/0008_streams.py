"""Streams: the SensorThings entities, observations by month, latest values, roll-ups, corrections."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ENTITIES = """
CREATE SCHEMA live;

CREATE TABLE live.thing (
    id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_thing PRIMARY KEY,
    layer_id integer NOT NULL CONSTRAINT fk_thing_layer_id REFERENCES twin.layer (id),
    code text NOT NULL,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    properties jsonb NOT NULL DEFAULT '{}',
    -- The feature of the layer that is observed, or the cell, or neither: then the thing is unplaced.
    feature_id text,
    fid bigint,
    cell bigint,
    -- Why it is unplaced, or where its declared position comes from.
    place_note_vi text NOT NULL DEFAULT '',
    place_note_en text NOT NULL DEFAULT '',
    CONSTRAINT uq_thing_layer_id_code UNIQUE (layer_id, code),
    CONSTRAINT ck_thing_place CHECK (feature_id IS NULL OR cell IS NULL)
);
CREATE INDEX ix_thing_fid ON live.thing (layer_id, fid);

CREATE TABLE live.location (
    id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_location PRIMARY KEY,
    agency_id integer NOT NULL CONSTRAINT fk_location_agency_id REFERENCES twin.agency (id),
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    encoding_type text NOT NULL DEFAULT 'application/geo+json',
    location jsonb NOT NULL,
    geom geometry(Geometry, 4326),
    properties jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX ix_location_geom ON live.location USING gist (geom);

CREATE TABLE live.thing_location (
    thing_id integer NOT NULL CONSTRAINT fk_thing_location_thing_id REFERENCES live.thing (id) ON DELETE CASCADE,
    location_id integer NOT NULL
        CONSTRAINT fk_thing_location_location_id REFERENCES live.location (id) ON DELETE CASCADE,
    CONSTRAINT pk_thing_location PRIMARY KEY (thing_id, location_id)
);
CREATE INDEX ix_thing_location_location_id ON live.thing_location (location_id);

CREATE TABLE live.historical_location (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_historical_location PRIMARY KEY,
    thing_id integer NOT NULL CONSTRAINT fk_historical_location_thing_id REFERENCES live.thing (id) ON DELETE CASCADE,
    time timestamptz NOT NULL
);
CREATE INDEX ix_historical_location_thing_id_time ON live.historical_location (thing_id, time);

CREATE TABLE live.historical_location_location (
    historical_location_id bigint NOT NULL CONSTRAINT fk_historical_location_location_historical_location_id
        REFERENCES live.historical_location (id) ON DELETE CASCADE,
    location_id integer NOT NULL
        CONSTRAINT fk_historical_location_location_location_id REFERENCES live.location (id) ON DELETE CASCADE,
    CONSTRAINT pk_historical_location_location PRIMARY KEY (historical_location_id, location_id)
);
CREATE INDEX ix_historical_location_location_location_id ON live.historical_location_location (location_id);

CREATE TABLE live.sensor (
    id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_sensor PRIMARY KEY,
    agency_id integer NOT NULL CONSTRAINT fk_sensor_agency_id REFERENCES twin.agency (id),
    code text,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    encoding_type text NOT NULL DEFAULT 'text/html',
    metadata jsonb NOT NULL DEFAULT '""',
    properties jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT uq_sensor_agency_id_code UNIQUE (agency_id, code)
);

CREATE TABLE live.observed_property (
    id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_observed_property PRIMARY KEY,
    agency_id integer NOT NULL CONSTRAINT fk_observed_property_agency_id REFERENCES twin.agency (id),
    code text,
    name text NOT NULL,
    definition text NOT NULL DEFAULT '',
    description text NOT NULL DEFAULT '',
    properties jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT uq_observed_property_agency_id_code UNIQUE (agency_id, code)
);

CREATE TABLE live.feature_of_interest (
    id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_feature_of_interest PRIMARY KEY,
    agency_id integer NOT NULL CONSTRAINT fk_feature_of_interest_agency_id REFERENCES twin.agency (id),
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    encoding_type text NOT NULL DEFAULT 'application/geo+json',
    feature jsonb NOT NULL,
    geom geometry(Geometry, 4326),
    properties jsonb NOT NULL DEFAULT '{}',
    -- Of one that was made from a thing's location: that location, so that it is made once.
    location_id integer CONSTRAINT uq_feature_of_interest_location_id UNIQUE
        CONSTRAINT fk_feature_of_interest_location_id REFERENCES live.location (id) ON DELETE SET NULL
);
CREATE INDEX ix_feature_of_interest_geom ON live.feature_of_interest USING gist (geom);

CREATE TABLE live.datastream (
    id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_datastream PRIMARY KEY,
    thing_id integer NOT NULL CONSTRAINT fk_datastream_thing_id REFERENCES live.thing (id) ON DELETE CASCADE,
    sensor_id integer NOT NULL CONSTRAINT fk_datastream_sensor_id REFERENCES live.sensor (id) ON DELETE CASCADE,
    observed_property_id integer NOT NULL
        CONSTRAINT fk_datastream_observed_property_id REFERENCES live.observed_property (id) ON DELETE CASCADE,
    -- Those of the thing's layer, repeated here because every question about streams asks for them.
    layer_id integer NOT NULL CONSTRAINT fk_datastream_layer_id REFERENCES twin.layer (id),
    agency_id integer NOT NULL CONSTRAINT fk_datastream_agency_id REFERENCES twin.agency (id),
    -- How the agency calls it: unique in the agency, part of its topics.
    code text NOT NULL,
    -- What is observed (layers.observed), or nothing where the platform does not know it.
    kind text NOT NULL DEFAULT '',
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    observation_type text NOT NULL
        DEFAULT 'http://www.opengis.net/def/observationType/OGC-OM/2.0/OM_Measurement',
    unit_name text,
    unit_symbol text,
    unit_definition text,
    properties jsonb NOT NULL DEFAULT '{}',
    feature_of_interest_id integer CONSTRAINT fk_datastream_feature_of_interest_id
        REFERENCES live.feature_of_interest (id) ON DELETE SET NULL,
    -- Other units that a value may come in: {"mg/m3": [1000, 0]}, value * factor + offset.
    units jsonb NOT NULL DEFAULT '{}',
    -- From what the device sends, where no unit is named, to the unit of the stream.
    factor double precision NOT NULL DEFAULT 1,
    "offset" double precision NOT NULL DEFAULT 0,
    lowest double precision,
    highest double precision,
    fresh_seconds double precision NOT NULL DEFAULT 3600,
    every_seconds double precision,
    stuck_seconds double precision,
    stuck_except double precision[] NOT NULL DEFAULT '{}',
    rolls_up text NOT NULL DEFAULT 'mean',
    basis text NOT NULL DEFAULT 'measured',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_datastream_agency_id_code UNIQUE (agency_id, code),
    CONSTRAINT ck_datastream_basis CHECK (basis IN ('measured', 'modelled', 'simulated')),
    CONSTRAINT ck_datastream_rolls_up CHECK (rolls_up IN ('mean', 'sum', 'min', 'max', 'last'))
);
CREATE INDEX ix_datastream_thing_id ON live.datastream (thing_id);
CREATE INDEX ix_datastream_layer_id ON live.datastream (layer_id);
CREATE INDEX ix_datastream_sensor_id ON live.datastream (sensor_id);
CREATE INDEX ix_datastream_observed_property_id ON live.datastream (observed_property_id);
"""

VALUES = """
-- By month. The key is the only index: a stream's day is a few pages of it.
CREATE TABLE live.observation (
    stream integer NOT NULL,
    time timestamptz NOT NULL,
    received timestamptz NOT NULL DEFAULT now(),
    value double precision,
    flag smallint NOT NULL DEFAULT 0,
    CONSTRAINT pk_observation PRIMARY KEY (stream, time)
) PARTITION BY RANGE (time);

-- What few observations have: results that are no numbers, intervals, a feature of interest of their own.
CREATE TABLE live.observation_detail (
    stream integer NOT NULL,
    time timestamptz NOT NULL,
    until timestamptz,
    result_time timestamptz,
    valid_from timestamptz,
    valid_until timestamptz,
    result jsonb,
    quality jsonb,
    parameters jsonb,
    feature_of_interest_id integer CONSTRAINT fk_observation_detail_feature_of_interest_id
        REFERENCES live.feature_of_interest (id) ON DELETE SET NULL,
    CONSTRAINT pk_observation_detail PRIMARY KEY (stream, time)
);
CREATE INDEX ix_observation_detail_feature_of_interest_id ON live.observation_detail (feature_of_interest_id)
    WHERE feature_of_interest_id IS NOT NULL;

-- Values that another one took the place of. Rows are only ever added.
CREATE TABLE live.correction (
    stream integer NOT NULL,
    time timestamptz NOT NULL,
    value double precision,
    flag smallint NOT NULL,
    received timestamptz NOT NULL,
    corrected_at timestamptz NOT NULL DEFAULT now(),
    corrected_by text NOT NULL,
    result jsonb
);
CREATE INDEX ix_correction_stream_time ON live.correction (stream, time);

-- Values whose time cannot be believed, whole, with the reason.
CREATE TABLE live.set_aside (
    stream integer NOT NULL,
    time timestamptz NOT NULL,
    value double precision,
    received timestamptz NOT NULL DEFAULT now(),
    flag smallint NOT NULL,
    source text NOT NULL,
    CONSTRAINT pk_set_aside PRIMARY KEY (stream, time, received)
);

-- Messages that name no stream or cannot be read: counted by reason, with the newest as an example.
CREATE TABLE live.unread_message (
    source text NOT NULL,
    reason text NOT NULL,
    agency text NOT NULL DEFAULT '',
    count bigint NOT NULL DEFAULT 1,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    example text NOT NULL DEFAULT '',
    CONSTRAINT pk_unread_message PRIMARY KEY (source, reason, agency)
);

CREATE TABLE live.latest (
    stream integer CONSTRAINT pk_latest PRIMARY KEY
        CONSTRAINT fk_latest_stream REFERENCES live.datastream (id) ON DELETE CASCADE,
    time timestamptz NOT NULL,
    received timestamptz NOT NULL,
    -- Since when the value has been the same.
    same_since timestamptz NOT NULL,
    -- The transaction that wrote it: whoever follows asks for those that its last look may have missed.
    changed xid8 NOT NULL DEFAULT pg_current_xact_id(),
    value double precision,
    flag smallint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Buckets of five minutes whose roll-ups are out of date. Without a key: writers must not wait for each other here.
CREATE TABLE live.dirty (
    stream integer NOT NULL,
    bucket timestamptz NOT NULL
);
"""

ROLL_UP = """
CREATE TABLE live.{name} (
    stream integer NOT NULL,
    bucket timestamptz NOT NULL,
    n integer NOT NULL,
    bad integer NOT NULL,
    total double precision,
    low double precision,
    high double precision,
    last double precision,
    CONSTRAINT pk_{name} PRIMARY KEY (stream, bucket)
);
"""

# Partitions belong to the owner, and the writer may make those that it needs, and drop old ones, by these functions
# alone.
FUNCTIONS = """
CREATE FUNCTION live.ensure_month(month date) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    name text := 'observation_' || to_char(first, 'YYYY_MM');
BEGIN
    IF first < '1990-01-01' OR first > now() + interval '40 days' THEN
        RAISE EXCEPTION 'no partition for %', first USING ERRCODE = 'datetime_field_overflow';
    END IF;
    IF to_regclass('live.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    -- Two writers may need the same month at the same moment: the second one waits here, and finds it made.
    PERFORM pg_advisory_xact_lock(7310545002);
    BEGIN
        EXECUTE format(
            'CREATE TABLE live.%I PARTITION OF live.observation FOR VALUES FROM (%L) TO (%L)',
            name, first::text || ' 00:00+00', (first + interval '1 month')::date::text || ' 00:00+00');
    EXCEPTION WHEN duplicate_table THEN
        NULL;
    END;
END $$;

CREATE FUNCTION live.drop_months_before(moment timestamptz) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $$
DECLARE
    part record;
    dropped integer := 0;
BEGIN
    FOR part IN
        SELECT c.relname, to_date(right(c.relname, 7), 'YYYY_MM') AS first
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'live.observation'::regclass
    LOOP
        IF part.first + interval '1 month' <= moment AT TIME ZONE 'UTC' THEN
            EXECUTE format('DROP TABLE live.%I', part.relname);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END $$;

REVOKE EXECUTE ON FUNCTION live.ensure_month(date), live.drop_months_before(timestamptz) FROM PUBLIC;
"""

BROKER = """
-- What a broker checks a key's secret with, in its own form. Only keys made since then have one.
ALTER TABLE twin.api_key ADD COLUMN broker_hash text;
"""


def upgrade() -> None:
    op.execute(ENTITIES)
    op.execute(VALUES)
    for name in ("roll_5m", "roll_1h", "roll_1d"):
        op.execute(ROLL_UP.format(name=name))
    op.execute(FUNCTIONS)
    op.execute(BROKER)
    _set_roles("'reader', 'device', 'publisher', 'steward', 'operator', 'admin'")


def _set_roles(roles: str) -> None:
    op.drop_constraint(op.f("ck_principal_role"), "principal", schema="twin", type_="check")
    op.create_check_constraint(op.f("ck_principal_role"), "principal", f"role IN ({roles})", schema="twin")


def downgrade() -> None:
    op.execute("DROP SCHEMA live CASCADE")
    op.execute("UPDATE twin.principal SET role = 'reader' WHERE role = 'device'")
    _set_roles("'reader', 'publisher', 'steward', 'operator', 'admin'")
    op.execute("ALTER TABLE twin.api_key DROP COLUMN broker_hash")
