"""The Flask extensions, created unbound; the factory binds them."""

from flask_apscheduler import APScheduler
from flask_caching import Cache
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect

from app.database.base import Base

db = SQLAlchemy(model_class=Base)
migrate = Migrate()
cache = Cache()
scheduler = APScheduler()
csrf = CSRFProtect()
