//! Log lines: text for people, JSON for machines; on standard error, and never in the way of serving.
//!
//! A thread of its own writes them from a bounded queue. A line that does not fit, or that cannot be written (a full
//! disk, a reader that has gone or sleeps), is lost and counted; the service goes on. Ours and not `tracing-appender`:
//! that one counts no failed write, and brings a crate for dates that nothing else needs.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, registry};

use crate::error::{Error, Result};
use crate::serve::settings::{LogFormat, Settings};

/// Most lines that wait to be written: some hundreds of kilobytes.
const QUEUE_LINES: usize = 1024;
/// Longest line that is queued, in bytes; the rest of it is cut off.
const MAX_LINE_BYTES: usize = 8 * 1024;
/// How long the end of the process waits for the last lines: a reader that is silent must not hold it.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Lines that could not be logged since the process began.
pub fn lost_lines() -> u64 {
    QUEUE.get().map_or(0, |queue| queue.lost.load(Relaxed))
}

/// Starts logging as `settings` say, for the whole process; a second call changes nothing.
///
/// # Errors
/// [`Error::Setting`] for a filter that cannot be read.
pub fn start(settings: &Settings) -> Result<()> {
    let filter = filter(&settings.log).map_err(|reason| Error::setting("--log", reason))?;
    let terminal = io::stderr().is_terminal();
    let json = is_json(settings.log_format);
    let queue = QUEUE.get_or_init(|| Queue::start(io::stderr()));
    // What the subscriber says of its own faults goes to standard error with `eprintln!`, which panics where that is the
    // fault.
    let lines = fmt::layer().log_internal_errors(false).with_writer(queue);
    let lines = if json {
        lines.json().flatten_event(true).with_current_span(false).boxed()
    } else {
        lines.with_ansi(terminal).with_target(false).boxed()
    };
    let _ = registry().with(lines.with_filter(filter)).try_init();
    // A panic in a computation is answered with 500; what it was must stand in the log, in the log's form.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        // Of the message only text known when the program was compiled: a formatted one may hold parts of a review.
        let message = panic.payload().downcast_ref::<&str>().copied().unwrap_or("formatted message withheld");
        tracing::error!(place, message, "panic");
    }));
    Ok(())
}

/// What is logged, as `directives` say: a level, or `target=level`, several parted by commas. Targets that none is named for
/// log from `info` on.
///
/// A word that is no level would else be taken for a target, and all that is no part of it be silent.
fn filter(directives: &str) -> std::result::Result<Targets, String> {
    let unreadable = |part: &str| {
        let part: String = part.chars().filter(|c| !c.is_control()).take(40).collect();
        format!("`{part}` is neither a level (off, error, warn, info, debug, trace) nor target=level")
    };
    let is_target =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_:-".contains(c));
    let mut filter = Targets::new().with_default(LevelFilter::INFO);
    for part in directives.split(',').map(str::trim) {
        let (target, level) =
            part.split_once('=').map_or((None, part), |(target, level)| (Some(target), level));
        // By their names: the crate takes numbers, too, and nothing.
        let named = level.chars().next().is_some_and(char::is_alphabetic);
        let level: LevelFilter = level.parse().ok().filter(|_| named).ok_or_else(|| unreadable(part))?;
        filter = match target {
            None => filter.with_default(level),
            Some(target) if is_target(target) => filter.with_target(target, level),
            Some(_) => return Err(unreadable(part)),
        };
    }
    Ok(filter)
}

/// Whether lines are JSON objects.
pub fn is_json(format: LogFormat) -> bool {
    match format {
        LogFormat::Auto => !io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

/// Whether standard output, too, is to hold nothing but JSON objects: so it is asked for, or it leads where the log does.
pub fn takes_output(settings: &Settings) -> bool {
    settings.log_format == LogFormat::Json || is_json(settings.log_format) && outputs_are_one()
}

#[cfg(unix)]
fn outputs_are_one() -> bool {
    let files = rustix::fs::fstat(io::stdout()).and_then(|out| Ok((out, rustix::fs::fstat(io::stderr())?)));
    files.is_ok_and(|(out, err)| (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino))
}

#[cfg(not(unix))]
fn outputs_are_one() -> bool {
    false
}

/// Says on standard error why the process cannot go on, in the log's form, whatever `--log` leaves out.
pub fn fatal(format: LogFormat, reason: &str) {
    // Not `eprintln!`, which panics where standard error is closed or full.
    let _ = if is_json(format) {
        let mut timestamp = String::new();
        let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
        let message = serde_json::Value::from(reason);
        let line = format!(
            r#"{{"timestamp":"{timestamp}","level":"ERROR","message":{message},"target":"imdb_sentiment"}}"#
        );
        writeln!(io::stderr(), "{line}")
    } else {
        // Paths and names may hold anything.
        let line: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        writeln!(io::stderr(), "error: {line}")
    };
}

/// Waits until what was logged is written, for a second at most.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(FLUSH_TIMEOUT);
    }
}

/// Lines on their way to the thread that writes them.
struct Queue {
    lines: SyncSender<Vec<u8>>,
    queued: AtomicU64,
    written: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    fn start(output: impl Write + Send + 'static) -> Self {
        let (lines, waiting) = sync_channel(QUEUE_LINES);
        let (written, lost) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let (done, failed) = (written.clone(), lost.clone());
        let work = move || write_lines(output, &waiting, &done, &failed);
        // Without a thread every line is lost, and counted.
        let _ = std::thread::Builder::new().name("log".into()).spawn(work);
        Self { lines, queued: AtomicU64::new(0), written, lost }
    }

    fn flush(&self, timeout: Duration) {
        let end = Instant::now() + timeout;
        while self.written.load(Relaxed) < self.queued.load(Relaxed) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Writes what waits, for ever; counts what was taken from the queue, and what could not be written.
fn write_lines(mut output: impl Write, waiting: &Receiver<Vec<u8>>, written: &AtomicU64, lost: &AtomicU64) {
    while let Ok(line) = waiting.recv() {
        if output.write_all(&line).and_then(|()| output.flush()).is_err() {
            lost.fetch_add(1, Relaxed);
        }
        written.fetch_add(1, Relaxed);
    }
}

/// One line; it is queued when it is dropped.
struct Line<'a> {
    queue: &'a Queue,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for &'static Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, bytes: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = MAX_LINE_BYTES.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let mut line = std::mem::take(&mut self.bytes);
        if line.is_empty() {
            return;
        }
        if line.len() == MAX_LINE_BYTES && line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        match self.queue.lines.try_send(line) {
            Ok(()) => self.queue.queued.fetch_add(1, Relaxed),
            Err(_) => self.queue.lost.fetch_add(1, Relaxed),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_made_of_levels_and_targets_or_refused() {
        use tracing::Level;
        let read = filter("warn, imdb_sentiment::serve=debug,hyper=off").unwrap();
        for (target, level, logged) in [
            ("imdb_sentiment::serve::reload", Level::DEBUG, true),
            ("imdb_sentiment::model", Level::INFO, false),
            ("imdb_sentiment::model", Level::WARN, true),
            ("hyper::proto", Level::ERROR, false),
        ] {
            assert_eq!(read.would_enable(target, &level), logged, "{target} {level}");
        }
        let read = filter("hyper=debug").unwrap();
        assert!(read.would_enable("imdb_sentiment", &Level::INFO));
        assert!(!read.would_enable("imdb_sentiment", &Level::DEBUG));
        for refused in [
            "[",
            "verbose",
            "info,loud",
            "hyper=loud",
            "a b=info",
            "info;debug",
            "span[x=1]=info",
            "",
            ",",
            "=debug",
            "3",
        ] {
            let reason = filter(refused).unwrap_err();
            assert!(reason.contains("neither a level"), "{refused}: {reason}");
        }
        assert!(filter(&"x".repeat(9000)).unwrap_err().len() < 200);
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Asleep;

    impl Write for Asleep {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            std::thread::sleep(Duration::from_secs(3600));
            Ok(0)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(queue: &'static Queue, lines: usize) {
        (0..lines).for_each(|_| drop(queue.make_writer().write_all(b"a line\n")));
    }

    #[test]
    fn a_line_that_cannot_be_written_is_counted_and_nothing_waits_for_it() {
        let queue: &'static Queue = Box::leak(Box::new(Queue::start(Broken)));
        log(queue, 10);
        queue.flush(Duration::from_secs(10));
        assert_eq!(queue.lost.load(Relaxed), 10);
        let queue: &'static Queue = Box::leak(Box::new(Queue::start(Asleep)));
        log(queue, QUEUE_LINES + 100);
        // One may have been taken by the thread that sleeps with it.
        assert!((99..=100).contains(&queue.lost.load(Relaxed)));
        queue.flush(Duration::from_millis(1));
    }
}
