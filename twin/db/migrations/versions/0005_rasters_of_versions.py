"""A version may be a raster: where its file lies, and what was measured when it was published."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "layer_version",
        sa.Column("raster", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        schema="twin",
    )


def downgrade() -> None:
    op.drop_column("layer_version", "raster", schema="twin")
