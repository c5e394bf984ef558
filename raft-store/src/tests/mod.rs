//! Tests that look inside: formats, recovery, crashes.
