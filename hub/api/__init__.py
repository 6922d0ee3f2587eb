"""The REST API in Bacalhau's shapes: parse, call one function, shape the reply."""
