//! The offline trainer.
