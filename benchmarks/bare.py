"""The bare Flask route that every web figure is measured against."""

from flask import Flask

app = Flask("bare")


@app.get("/")
def index() -> str:
    """As little as a route can do."""
    return "ok"
