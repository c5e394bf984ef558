//! The admin listener: HTTP and JSON for people and probes, Prometheus metrics.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | 200 while it serves, 503 with the reason when partitions are offline or it is shutting down |
//! | `/metrics` | OpenMetrics text |
//! | `/v1/topics` | every topic with its partitions' offsets and sizes |
//! | `/v1/topics/{name}` | one topic |

mod http;

pub(crate) use http::serve;
