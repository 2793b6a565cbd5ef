"""Where the database is: PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE say."""

import os

INSTALLED_APPS = ["returns"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["PGHOST"],
        "PORT": os.environ["PGPORT"],
        "NAME": os.environ["PGDATABASE"],
        "USER": os.environ["PGUSER"],
        "PASSWORD": os.environ["PGPASSWORD"],
    }
}
USE_TZ = True
