"""The version of the stored data: whoever changes what pages show of it replaces its token."""

# In the transaction of the change, as late as can be, so that the row is locked briefly.
NEW_DATA_VERSION = """
    INSERT INTO data_version (kind) VALUES ('data')
    ON CONFLICT (kind) DO UPDATE SET token = gen_random_uuid(), changed_at = clock_timestamp()
"""
# The same for the alerts that are shown.
NEW_ALERTS_VERSION = """
    INSERT INTO data_version (kind) VALUES ('alerts')
    ON CONFLICT (kind) DO UPDATE SET token = gen_random_uuid(), changed_at = clock_timestamp()
"""
