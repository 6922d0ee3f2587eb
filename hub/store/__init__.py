"""The only user of SQLite on the hub: tables, queries, and the moves that commit together."""
