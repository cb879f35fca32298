"""The store: schema, migrations and the one way to load named queries."""
