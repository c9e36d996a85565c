"""What was logged about a run: the last lines of each attempt, for its page."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database.base import Base


class RunLogLine(Base):
    """One line of the log, redacted as in the log itself; `fields` is what the call gave."""

    __tablename__ = "run_log_line"
    __table_args__ = (PrimaryKeyConstraint("run_id", "attempt", "position"),)

    run_id: Mapped[UUID] = mapped_column(ForeignKey("ingestion_run.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    position: Mapped[int]
    logged_at: Mapped[datetime]
    level: Mapped[str]
    logger: Mapped[str]
    stage: Mapped[str] = mapped_column(server_default="")
    event: Mapped[str]
    fields: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
