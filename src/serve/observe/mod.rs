//! What the service says of itself to those who run it.
//!
//! | file | what is in it |
//! |---|---|
//! | `telemetry`, `routes` | what is counted of the service, and of each route |
//! | `exposition` | counters, gauges, histograms, and their text for Prometheus |
//! | `page` | a page that is made once a second at most |
//! | `process` | figures of the process, from `/proc` |
//! | `logging`, `throttle` | log lines, and fewer of them |
//! | `access` | what is logged of a request |
//! | `spans` | a span of every request for an OpenTelemetry collector |

pub mod access;
pub mod exposition;
pub mod logging;
pub mod page;
pub mod process;
pub mod routes;
pub mod spans;
pub mod telemetry;
pub mod throttle;
