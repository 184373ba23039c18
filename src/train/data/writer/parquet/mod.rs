//! Rows as columns of Parquet, where the trainer is built with it.

#[cfg(not(feature = "parquet"))]
mod disabled;
#[cfg(feature = "parquet")]
mod enabled;

#[cfg(not(feature = "parquet"))]
pub use disabled::{Column, Groups, columns};
#[cfg(feature = "parquet")]
pub use enabled::{Column, Groups, columns};
