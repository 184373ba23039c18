//! Log lines: text for people, JSON for machines; on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::error::{Error, Result};
use crate::serve::settings::{LogFormat, Settings};

/// Starts logging as `settings` say, for the whole process; a second call changes nothing.
///
/// # Errors
/// [`Error::Setting`] for a filter that cannot be read.
pub fn start(settings: &Settings) -> Result<()> {
    let filter = EnvFilter::builder()
        .parse(&settings.log)
        .map_err(|e| Error::setting("--log", format!("`{}`: {e}", settings.log)))?;
    let terminal = std::io::stderr().is_terminal();
    let json = match settings.log_format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = if json {
        subscriber.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        subscriber.with_ansi(terminal).with_target(false).try_init()
    };
    // A panic in a computation is answered with 500; what it was must stand in the log, in the log's form.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        // Of the message only text known when the program was compiled: a formatted one may hold parts of a review.
        let message = panic.payload().downcast_ref::<&str>().copied().unwrap_or("formatted message withheld");
        tracing::error!(place, message, "panic");
    }));
    Ok(())
}
