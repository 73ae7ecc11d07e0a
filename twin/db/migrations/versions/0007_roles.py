"""There are stewards, who answer for an agency's layers, and operators, who see the jobs of all agencies."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint(op.f("ck_principal_role"), "principal", schema="twin", type_="check")
    op.create_check_constraint(
        op.f("ck_principal_role"), "principal", "role IN ('reader', 'publisher', 'steward', 'operator', 'admin')",
        schema="twin",
    )  # fmt: skip


def downgrade() -> None:
    op.execute("UPDATE twin.principal SET role = 'publisher' WHERE role = 'steward'")
    op.execute("UPDATE twin.principal SET role = 'reader' WHERE role = 'operator'")
    op.drop_constraint(op.f("ck_principal_role"), "principal", schema="twin", type_="check")
    op.create_check_constraint(
        op.f("ck_principal_role"), "principal", "role IN ('reader', 'publisher', 'admin')", schema="twin"
    )
