"""The migrations. Their revisions sort by age, and the newest is `gateway.stores.schema.NEWEST`."""
