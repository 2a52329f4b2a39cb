"""How nodes reach each other: one small interface, bytes only, in-process, over PostgreSQL and over NATS JetStream."""
