//! The one binary, `highwater`.

fn main() {}
