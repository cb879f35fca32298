"""Staff page, REST, live stream, and delivery from the outbox."""
