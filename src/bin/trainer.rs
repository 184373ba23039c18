//! The trainer: reads film reviews, trains a model, writes its directory.

use std::process::ExitCode;

use clap::Parser;
use imdb_sentiment::Error;
use imdb_sentiment::kernel::Isa;
use imdb_sentiment::train::commands::{Cli, run};
use imdb_sentiment::train::{EXIT_CODE, Interrupt};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

static INTERRUPT: Interrupt = Interrupt::new();

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(e) = Isa::from_environment() {
        eprintln!("error: {e}");
        return ExitCode::FAILURE;
    }
    // Ctrl-C or a polite kill.
    if let Err(e) = ctrlc::set_handler(|| INTERRUPT.ask()) {
        eprintln!("warning: Ctrl-C ends a training without a checkpoint: {e}");
    }
    match run(cli, &mut std::io::stdout(), &INTERRUPT) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has seen enough (`trainer inspect … | head`).
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Error::Interrupted) => ExitCode::from(EXIT_CODE),
        Err(e) => {
            // Names out of archives and tables may hold anything.
            let line: String = e.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            eprintln!("error: {line}");
            ExitCode::FAILURE
        }
    }
}
