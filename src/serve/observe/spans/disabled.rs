//! What stands in for spans where the program is built without them.

use axum::http::{HeaderValue, Request};

use crate::error::Result;
use crate::serve::http::trace::TraceContext;
use crate::serve::settings::Settings;

/// No spans.
#[derive(Debug)]
pub struct Spans;

/// No span.
#[derive(Debug)]
pub enum OpenSpan {}

impl Spans {
    /// Starts nothing.
    ///
    /// # Errors
    /// None; as with the feature.
    pub fn start(_: &Settings) -> Result<Self> {
        Ok(Self)
    }

    /// Begins nothing.
    pub fn open<B>(&self, _: &Request<B>, _: &HeaderValue, _: &mut Option<TraceContext>) -> Option<OpenSpan> {
        None
    }

    /// Nothing is left.
    pub fn stop(&self) {}
}

impl OpenSpan {
    /// Cannot be.
    pub fn answered(&mut self, _: u16) {
        match *self {}
    }
}
