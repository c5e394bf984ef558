//! Ways for the fuzz targets into the parsers of the wire. Compiled with `--cfg fuzzing` only; no part of the library.

pub use crate::listener::kafka::kafka_request;
