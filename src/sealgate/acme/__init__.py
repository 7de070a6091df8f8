"""Certificates from ACME authorities (RFC 8555). See docs/design/acme.md for the rooms and their seams."""
