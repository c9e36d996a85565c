"""The 72 bad inputs: what is sent, and what has to come of it through the whole product."""
