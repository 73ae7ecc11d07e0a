"""Alert rules, incidents with their history, and the outbox of what is to be sent."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

RULES = """
CREATE TABLE live.alert_rule (
    id integer GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_alert_rule PRIMARY KEY,
    agency_id integer NOT NULL CONSTRAINT fk_alert_rule_agency_id REFERENCES twin.agency (id),
    name text NOT NULL,
    -- As twin.incidents.rules reads it.
    definition jsonb NOT NULL,
    -- Rises with every change, a removal too: the sum over all rules tells whether any is another one.
    version integer NOT NULL DEFAULT 1,
    enabled boolean NOT NULL DEFAULT true,
    -- Whether it may select streams of all agencies, as far as its own may read them: a rule of an operator.
    every_agency boolean NOT NULL DEFAULT false,
    -- What webhooks are signed with; shown once.
    secret text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL,
    removed_at timestamptz
);
CREATE UNIQUE INDEX uq_alert_rule_agency_id_name ON live.alert_rule (agency_id, name) WHERE removed_at IS NULL;

-- How far a rule is with a stream, or (stream 0) with its place. Most pairs are idle and have no row.
CREATE TABLE live.rule_state (
    rule_id integer NOT NULL CONSTRAINT fk_rule_state_rule_id REFERENCES live.alert_rule (id),
    stream integer NOT NULL,
    -- 0 idle, 1 the condition holds but not for long enough, 2 raised.
    phase smallint NOT NULL,
    since timestamptz,
    clear_since timestamptz,
    -- The value that was looked at last.
    time timestamptz NOT NULL,
    base double precision,
    incident_id bigint,
    CONSTRAINT pk_rule_state PRIMARY KEY (rule_id, stream)
);
CREATE INDEX ix_rule_state_stream ON live.rule_state (stream);
CREATE INDEX ix_rule_state_incident_id ON live.rule_state (incident_id) WHERE incident_id IS NOT NULL;
"""

INCIDENTS = """
CREATE TABLE live.incident (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_incident PRIMARY KEY,
    -- `alert`: the result of a rule. Others (reports of citizens, works) come from the operations board.
    kind text NOT NULL DEFAULT 'alert',
    severity text NOT NULL,
    status text NOT NULL DEFAULT 'open',
    agency_id integer NOT NULL CONSTRAINT fk_incident_agency_id REFERENCES twin.agency (id),
    -- Whoever may read the streams of all of these may know of it.
    layers text[] NOT NULL,
    title_vi text NOT NULL,
    title_en text NOT NULL,
    text_vi text NOT NULL DEFAULT '',
    text_en text NOT NULL DEFAULT '',
    geom geometry(Point, 4326),
    cell bigint,
    feature_layer text,
    feature_id text,
    rule_id integer CONSTRAINT fk_incident_rule_id REFERENCES live.alert_rule (id),
    rule_version integer,
    -- The stream, 0 for the rule's place, -1 for those above the rule's limit a minute.
    subject integer,
    value double precision,
    unit text,
    -- How many places it stands for.
    count integer NOT NULL DEFAULT 1,
    properties jsonb NOT NULL DEFAULT '{}',
    -- When what it tells of happened.
    began_at timestamptz NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    opened_by text NOT NULL,
    acknowledged_at timestamptz,
    acknowledged_by text,
    closed_at timestamptz,
    closed_by text,
    changed xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT ck_incident_severity CHECK (severity IN ('information', 'warning', 'serious', 'emergency')),
    CONSTRAINT ck_incident_status CHECK (status IN ('open', 'acknowledged', 'closed')),
    CONSTRAINT ck_incident_layers CHECK (cardinality(layers) > 0)
);
-- One open incident for a rule and stream or place, whoever writes.
CREATE UNIQUE INDEX uq_incident_rule_id_subject ON live.incident (rule_id, subject) WHERE status <> 'closed';
CREATE INDEX ix_incident_opened_at ON live.incident (opened_at, id);
CREATE INDEX ix_incident_rule_id_opened_at ON live.incident (rule_id, opened_at);
CREATE INDEX ix_incident_changed ON live.incident (changed);
CREATE INDEX ix_incident_geom ON live.incident USING gist (geom);

-- What became of incidents. Rows are only ever added.
CREATE TABLE live.incident_event (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_incident_event PRIMARY KEY,
    incident_id bigint NOT NULL CONSTRAINT fk_incident_event_incident_id REFERENCES live.incident (id),
    at timestamptz NOT NULL DEFAULT now(),
    what text NOT NULL,
    by text NOT NULL,
    note text NOT NULL DEFAULT '',
    data jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT ck_incident_event_what
        CHECK (what IN ('opened', 'more', 'acknowledged', 'closed', 'delivered', 'given_up'))
);
CREATE INDEX ix_incident_event_incident_id ON live.incident_event (incident_id, id);

-- What is to be sent: stored in the transaction of the incident, sent afterwards.
CREATE TABLE live.delivery (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_delivery PRIMARY KEY,
    event_id bigint NOT NULL CONSTRAINT fk_delivery_event_id REFERENCES live.incident_event (id),
    incident_id bigint NOT NULL CONSTRAINT fk_delivery_incident_id REFERENCES live.incident (id),
    rule_id integer NOT NULL CONSTRAINT fk_delivery_rule_id REFERENCES live.alert_rule (id),
    channel text NOT NULL,
    target text NOT NULL,
    body text NOT NULL,
    status text NOT NULL DEFAULT 'waiting',
    attempts integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL DEFAULT now(),
    done_at timestamptz,
    last_error text NOT NULL DEFAULT '',
    CONSTRAINT uq_delivery_event_id_channel_target UNIQUE (event_id, channel, target),
    CONSTRAINT ck_delivery_channel CHECK (channel IN ('webhook', 'email')),
    CONSTRAINT ck_delivery_status CHECK (status IN ('waiting', 'sent', 'given_up'))
);
CREATE INDEX ix_delivery_due_at ON live.delivery (due_at) WHERE status = 'waiting';
"""


def upgrade() -> None:
    op.execute(RULES)
    op.execute(INCIDENTS)


def downgrade() -> None:
    for table in ("delivery", "incident_event", "incident", "rule_state", "alert_rule"):
        op.execute(f"DROP TABLE live.{table}")
