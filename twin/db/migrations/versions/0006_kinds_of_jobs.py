"""Jobs are of a kind, and one that is being worked on can be cancelled."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("kind", sa.Text(), server_default="publish", nullable=False), schema="twin")
    op.add_column("job", sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True), schema="twin")


def downgrade() -> None:
    op.drop_column("job", "cancel_requested_at", schema="twin")
    op.drop_column("job", "kind", schema="twin")
