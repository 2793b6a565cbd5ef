"""Marks an order as lost. When that has to be approved first, it says so, and does it when it is started again."""

import os
import sys

from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

engine = create_engine(os.environ["DATABASE_URL"], connect_args={"options": "-c countersign.mode=resubmit"})
try:
    with engine.begin() as connection:
        order = {"id": 7}
        lost = connection.execute(text("UPDATE orders SET status = 'lost' WHERE id = :id"), order)
        print(lost.rowcount, "order is lost")
except ProgrammingError as error:
    told = error.orig.diag
    print(told.message_primary, told.message_detail, told.message_hint, sep="\n")
    sys.exit(75)
