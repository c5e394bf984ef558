//! Benchmarks: criterion for time (`benches/`), callgrind for instructions (`hot_path`, `callgrind.sh`).
//!
//! Here are only the inputs they share. `measure.py` runs the small programs of `src/bin` beside the `highwater` binary and
//! gives the figures of `docs/measurements.md`. Instruction counts are what is compared between commits, because they do not
//! depend on what else the machine does; times are for people.

pub mod cold_log;
pub mod flags;
pub mod sample;
pub mod scratch_log;
pub mod steady_log;
