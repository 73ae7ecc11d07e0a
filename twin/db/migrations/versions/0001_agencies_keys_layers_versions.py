"""The catalogue: agencies, principals and keys, layers and versions, quarantine, audit."""

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agency",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("title_vi", sa.Text(), nullable=False),
        sa.Column("title_en", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agency")),
        sa.UniqueConstraint("name", name=op.f("uq_agency_name")),
        schema="twin",
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("layer", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        schema="twin",
    )
    op.create_index(op.f("ix_audit_layer_at"), "audit", ["layer", "at"], unique=False, schema="twin")
    op.create_table(
        "info",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_info")),
        schema="twin",
    )
    op.create_table(
        "layer",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("agency_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("theme", sa.Text(), nullable=False),
        sa.Column("title_vi", sa.Text(), nullable=False),
        sa.Column("title_en", sa.Text(), nullable=False),
        sa.Column("description_vi", sa.Text(), server_default="", nullable=False),
        sa.Column("description_en", sa.Text(), server_default="", nullable=False),
        sa.Column("licence", sa.Text(), server_default="", nullable=False),
        sa.Column("attribution", sa.Text(), server_default="", nullable=False),
        sa.Column("sharing", sa.Text(), server_default="restricted", nullable=False),
        sa.Column("sample", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("contract", sa.Text(), nullable=True),
        sa.Column("update_frequency", sa.Text(), server_default="irregular", nullable=False),
        sa.Column("visible", sa.Boolean(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("current_version_id", sa.Integer(), nullable=True),
        sa.CheckConstraint("sharing IN ('open', 'shared', 'restricted')", name=op.f("ck_layer_sharing")),
        sa.ForeignKeyConstraint(["agency_id"], ["twin.agency.id"], name=op.f("fk_layer_agency_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_layer")),
        sa.UniqueConstraint("agency_id", "name", name=op.f("uq_layer_agency_id_name")),
        sa.UniqueConstraint("current_version_id", name=op.f("uq_layer_current_version_id")),
        schema="twin",
    )
    op.create_table(
        "principal",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("agency_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.CheckConstraint("role IN ('reader', 'publisher', 'admin')", name=op.f("ck_principal_role")),
        sa.ForeignKeyConstraint(["agency_id"], ["twin.agency.id"], name=op.f("fk_principal_agency_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_principal")),
        sa.UniqueConstraint("agency_id", "name", name=op.f("uq_principal_agency_id_name")),
        schema="twin",
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.Integer(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["principal_id"], ["twin.principal.id"], name=op.f("fk_api_key_principal_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        schema="twin",
    )
    op.create_index(op.f("ix_api_key_principal_id"), "api_key", ["principal_id"], unique=False, schema="twin")
    op.create_table(
        "layer_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("layer_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("columns", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("resolution", sa.SmallInteger(), nullable=False),
        sa.Column("features", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("quarantined", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cells", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bounds", Geometry("POLYGON", srid=4326, spatial_index=False), nullable=True),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.Column("source_sha256", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("tool_version", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('staging', 'published', 'retired', 'failed')", name=op.f("ck_layer_version_state")
        ),
        sa.ForeignKeyConstraint(["layer_id"], ["twin.layer.id"], name=op.f("fk_layer_version_layer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_layer_version")),
        sa.UniqueConstraint("layer_id", "number", name=op.f("uq_layer_version_layer_id_number")),
        sa.UniqueConstraint("table_name", name=op.f("uq_layer_version_table_name")),
        schema="twin",
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("feature_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("properties", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("geometry", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["twin.layer_version.id"],
            name=op.f("fk_quarantine_version_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        schema="twin",
    )
    op.create_index(op.f("ix_quarantine_version_id"), "quarantine", ["version_id"], unique=False, schema="twin")
    op.create_foreign_key(
        op.f("fk_layer_current_version_id"),
        "layer",
        "layer_version",
        ["current_version_id"],
        ["id"],
        source_schema="twin",
        referent_schema="twin",
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_quarantine_version_id"), table_name="quarantine", schema="twin")
    op.drop_table("quarantine", schema="twin")
    op.drop_constraint(op.f("fk_layer_current_version_id"), "layer", schema="twin", type_="foreignkey")
    op.drop_table("layer_version", schema="twin")
    op.drop_index(op.f("ix_api_key_principal_id"), table_name="api_key", schema="twin")
    op.drop_table("api_key", schema="twin")
    op.drop_table("principal", schema="twin")
    op.drop_table("layer", schema="twin")
    op.drop_table("info", schema="twin")
    op.drop_index(op.f("ix_audit_layer_at"), table_name="audit", schema="twin")
    op.drop_table("audit", schema="twin")
    op.drop_table("agency", schema="twin")
