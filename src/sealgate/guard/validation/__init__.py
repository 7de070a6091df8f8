"""Is a request what the API's own description says? An OpenAPI document, compiled once. Pure."""
