//! From texts to predictions: the one core behind every protocol.
//!
//! | file | what is in it |
//! |---|---|
//! | `request` | what every protocol asks, and what it is given |
//! | `score` | a request's texts in, its predictions out, computed where it costs least |
//! | `details` | what is said besides: words, sentences, how the verdict came about |
//! | `pool` | compute threads behind a bounded, fair queue |
//! | `admission` | who may have how much waiting there |
//! | `fair` | the queue, in which clients take turns |
//! | `task` | one request's work on its way through them |
//! | `shadow` | a second model that scores a share of the traffic for comparison |

pub mod admission;
pub mod details;
mod fair;
pub mod pool;
pub mod request;
pub mod score;
pub mod shadow;
pub mod task;
