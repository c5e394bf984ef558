//! Benchmarks: criterion for time (`benches/`), callgrind for instructions (`hot_path`, `callgrind.sh`).
//!
//! Here are only the inputs they share. Instruction counts are what is compared between commits, because they do not
//! depend on what else the machine does; times are for people.

pub mod sample;
pub mod scratch_log;
