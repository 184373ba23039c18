//! Fused LSTM arithmetic on slices.
