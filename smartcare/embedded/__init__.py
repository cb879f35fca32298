"""Servers that come with the product, so that one command is enough: PostgreSQL and a broker, from wheels."""
