"""Which coarser cells a version's features were rolled up to."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("layer_version", sa.Column("rollup", postgresql.JSONB(), nullable=True), schema="twin")


def downgrade() -> None:
    op.drop_column("layer_version", "rollup", schema="twin")
