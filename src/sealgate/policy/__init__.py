"""The typed policy: its shape, its loading, its rules, and dated TLS profiles as data."""
