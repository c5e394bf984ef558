//! The bytes on disk and on the wire, pinned.
