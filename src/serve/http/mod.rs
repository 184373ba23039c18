//! Parts of HTTP that know nothing of what is served.
//!
//! | file | what is in it |
//! |---|---|
//! | `body` | reading a body within the limits of size, time and memory |
//! | `json` | reading JSON strictly |
//! | `auth` | API keys and browsers' origins |
//! | `tls` | certificate and key, which can be replaced |
//! | `trace` | `x-request-id` and `traceparent` |
//! | `stalled` | answers that their client does not take |

pub mod auth;
pub mod body;
pub mod json;
pub mod stalled;
pub mod tls;
pub mod trace;
