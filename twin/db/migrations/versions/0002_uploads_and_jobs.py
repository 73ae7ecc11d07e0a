"""Uploads of files, and the jobs that publish them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("upload_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("layer", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("order", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("page_vi", sa.Text(), nullable=True),
        sa.Column("page_en", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'done', 'refused', 'failed', 'cancelled')", name=op.f("ck_job_state")
        ),
        sa.ForeignKeyConstraint(["key_id"], ["twin.api_key.id"], name=op.f("fk_job_key_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_job")),
        sa.UniqueConstraint("id", name=op.f("uq_job_id")),
        sa.UniqueConstraint("upload_id", name=op.f("uq_job_upload_id")),
        schema="twin",
    )
    op.create_index(op.f("ix_job_finished_at"), "job", ["finished_at"], unique=False, schema="twin")
    op.create_index(op.f("ix_job_key_id"), "job", ["key_id"], unique=False, schema="twin")
    op.create_index(op.f("ix_job_layer_created_at"), "job", ["layer", "created_at"], unique=False, schema="twin")
    op.create_index(
        "ix_job_open",
        "job",
        ["layer", "number"],
        unique=False,
        schema="twin",
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_table(
        "upload",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("layer", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["twin.api_key.id"], name=op.f("fk_upload_key_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload")),
        schema="twin",
    )
    op.create_index(op.f("ix_upload_expires_at"), "upload", ["expires_at"], unique=False, schema="twin")
    op.create_index(op.f("ix_upload_key_id"), "upload", ["key_id"], unique=False, schema="twin")


def downgrade() -> None:
    op.drop_index(op.f("ix_upload_key_id"), table_name="upload", schema="twin")
    op.drop_index(op.f("ix_upload_expires_at"), table_name="upload", schema="twin")
    op.drop_table("upload", schema="twin")
    op.drop_index(
        "ix_job_open", table_name="job", schema="twin", postgresql_where=sa.text("state IN ('queued', 'running')")
    )
    op.drop_index(op.f("ix_job_layer_created_at"), table_name="job", schema="twin")
    op.drop_index(op.f("ix_job_key_id"), table_name="job", schema="twin")
    op.drop_index(op.f("ix_job_finished_at"), table_name="job", schema="twin")
    op.drop_table("job", schema="twin")
