//! Writes every case of `tests/golden/cases.txt`, as our builder encodes it, into a folder: `{case}.{codec}.rust.bin`.
//! Other decoders then read them (`tests/interop/record.sh`).

#![expect(clippy::disallowed_methods, reason = "an example writes files itself")]

#[path = "../tests/support/cases.rs"]
mod cases;

use std::path::PathBuf;

fn main() {
    let dir = PathBuf::from(std::env::args_os().nth(1).expect("usage: write_batches DIR"));
    assert!(cases::golden_dir().is_dir(), "run it from a checkout");
    for case in cases::cases() {
        if case.transactional {
            continue;
        }
        for &codec in &case.codecs {
            let path = dir.join(format!("{}.{codec}.rust.bin", case.name));
            std::fs::write(&path, case.build(codec))
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
