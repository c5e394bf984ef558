//! The checker's own tests: a bad history for each anomaly, good ones for each, and mutations that must all be noticed.

mod bad_histories;
mod good_histories;
mod mutations;
mod story;
