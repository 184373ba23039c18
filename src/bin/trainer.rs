//! The trainer: reads film reviews, trains a model, writes its directory.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use imdb_sentiment::Error;
use imdb_sentiment::train::commands::{Cli, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Set by Ctrl-C (or a polite kill); training stops after the current batch.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let handler = ctrlc::set_handler(|| {
        // The second one means it.
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    if let Err(e) = handler {
        eprintln!("warning: Ctrl-C will not be noticed: {e}");
    }
    match run(cli, &mut std::io::stdout(), &INTERRUPTED) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has seen enough (`trainer inspect … | head`).
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        // What the shell reports for a program that Ctrl-C ended.
        Err(Error::Interrupted) => ExitCode::from(130),
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}
