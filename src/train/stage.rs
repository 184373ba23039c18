//! What every stage of a training has around its loop: the output that it claims, its checkpoint, its threads, its voice.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::model::{DirectoryKind, OutputDirectory, TRAINING_FILE, load_companion};
use crate::train::fit::State;
use crate::train::fit::checkpoint;
use crate::train::interrupt::Interrupt;
use crate::train::settings::Settings;

/// Where a command writes a directory.
#[derive(Clone, Debug, clap::Args)]
pub struct OutputArgs {
    /// The directory to write: absent, or one of its own kind with nothing else in it.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// Replace what a finished run wrote there.
    #[arg(long)]
    pub force: bool,
}

/// Whether a stage goes on where a stopped run ended.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ResumeArgs {
    /// Go on from the checkpoint of a stopped run with the same settings, to the same weights in the end.
    #[arg(long, conflicts_with = "restart")]
    pub resume: bool,
    /// Begin anew where a stopped run left a checkpoint, which is given up.
    #[arg(long)]
    pub restart: bool,
    /// Stop as if interrupted after so many steps in all.
    #[arg(long, hide = true)]
    pub stop_after: Option<u64>,
}

impl ResumeArgs {
    /// Whether to stop after `steps`.
    pub fn stop(&self, interrupt: &Interrupt, steps: u64) -> bool {
        interrupt.asked() || self.stop_after.is_some_and(|limit| steps >= limit)
    }
}

/// A stage whose output nobody else writes.
#[derive(Debug)]
pub struct Stage {
    output: OutputDirectory,
    checkpoint: PathBuf,
    resume: bool,
    /// Whether a finished run's output lies there.
    over_finished: bool,
}

impl Stage {
    /// Claims the output before any data is read.
    ///
    /// # Errors
    /// As [`OutputDirectory::claim`]; [`Error::Invalid`] where a finished run's output is not to be replaced, where a
    /// stopped run's checkpoint is neither to be resumed nor given up, or where there is none to resume.
    pub fn claim(output: &OutputArgs, kind: DirectoryKind, resume: &ResumeArgs) -> Result<Self> {
        let claimed = OutputDirectory::claim(&output.output, kind)?;
        let path = checkpoint::path_for(claimed.path());
        let stopped = checkpoint::is_there(&path)?;
        if stopped && !resume.resume && !resume.restart {
            let reason = "a stopped run left this: go on with --resume, or begin anew with --restart";
            return Err(Error::invalid(&path, reason));
        }
        if resume.resume && !stopped {
            return Err(Error::invalid(&path, "there is no checkpoint to resume from"));
        }
        // What a stopped run saved of its way may go.
        let over_finished = claimed.is_occupied() && !is_unfinished(claimed.path());
        let passing = resume.resume || (resume.restart && !over_finished);
        if claimed.is_occupied() && !output.force && !passing {
            return Err(Error::invalid(claimed.path(), "is there already; --force replaces it"));
        }
        Ok(Self { output: claimed, checkpoint: path, resume: resume.resume, over_finished })
    }

    /// The directory to write.
    pub fn output(&self) -> &Path {
        self.output.path()
    }

    /// Whether the output is that of a finished run, which a run that stops on its way does not replace.
    pub fn keeps_finished(&self) -> bool {
        self.over_finished
    }

    /// The state to begin with: that of the checkpoint with `--resume`, or else what `fresh` makes.
    ///
    /// # Errors
    /// As [`checkpoint::load`], and those of `fresh`.
    pub fn state(
        &self,
        settings: &Settings,
        examples_sha256: &str,
        fresh: impl FnOnce() -> Result<State>,
        out: &mut dyn Write,
    ) -> Result<State> {
        if !self.resume {
            return fresh();
        }
        let state = checkpoint::load(&self.checkpoint, settings, examples_sha256)?;
        let (epochs, steps) = (state.position.epoch, state.position.batch);
        print(out, &format!("resuming after {epochs} epochs and {steps} steps\n"))?;
        Ok(state)
    }

    /// Writes the checkpoint.
    ///
    /// # Errors
    /// As [`checkpoint::save`].
    pub fn save_checkpoint(&self, state: &State, settings: &Settings, examples_sha256: &str) -> Result<()> {
        checkpoint::save(&self.checkpoint, state, settings, examples_sha256)
    }

    /// Ends the stage, whose output has been written: removes the checkpoint of a run that is `finished`, says how to go
    /// on with one that is not.
    ///
    /// # Errors
    /// [`Error::Interrupted`] for a run that is not finished; [`Error::Io`].
    pub fn end(self, finished: bool, out: &mut dyn Write) -> Result<()> {
        if !finished {
            print(out, &format!("stopped; go on with --resume from {}\n", self.checkpoint.display()))?;
            return Err(Error::Interrupted);
        }
        let saved = format!("saved {}\n", self.output().display());
        match std::fs::remove_file(&self.checkpoint) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(&self.checkpoint)(e)),
            _ => print(out, &saved),
        }
    }
}

/// Whether the model in `directory` is what a stopped run saved of its way.
fn is_unfinished(directory: &Path) -> bool {
    let record: Result<Option<serde_json::Value>> = load_companion(directory, TRAINING_FILE);
    record.ok().flatten().is_some_and(|record| record["finished"] == false)
}

/// Runs `work` on a pool of so many threads.
///
/// # Errors
/// [`Error::Setting`] where the system gives no such pool; those of `work`.
pub fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|e| Error::setting("threads", e.to_string()))?.install(work)
}

/// Writes `text` to `out`.
///
/// # Errors
/// [`Error::Io`] naming the output.
pub fn print(out: &mut dyn Write, text: &str) -> Result<()> {
    out.write_all(text.as_bytes()).map_err(Error::io("standard output"))
}

/// An output whose reader may go away: a training is not lost for want of somebody to tell about it.
pub struct Expendable<'o>(pub &'o mut (dyn Write + Send));

impl Write for Expendable<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Ok(written) if written > 0 => Ok(written),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            _ => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}
