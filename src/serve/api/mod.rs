//! What clients can ask: one file or folder for each protocol.
//!
//! | file | what is in it |
//! |---|---|
//! | `predict/` | `POST /predict`, the service's own format |
//! | `huggingface` | `POST /` and `/models/{model}`, as Hugging Face's clients ask |
//! | `v2/` | the Open Inference Protocol, as Triton's and KServe's clients ask |
//! | `operations` | health, `/info`, `/metrics` |
//! | `openapi` | the description of all of them |

pub mod huggingface;
pub mod openapi;
pub mod operations;
pub mod predict;
pub mod v2;
