//! Tests that look inside: openraft's own suite, formats, crashes, failing disks and rot.

mod crash;
mod damage;
mod formats;
mod model;

mod snoop;
mod suite;
