"""TXT records for dns-01: set by DNS updates or by a program, and seen at the zone's own servers."""
