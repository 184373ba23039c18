//! The trainer's command line; one file a sub-command.

mod arguments;
mod calibrate;
mod complete;
mod evaluate;
mod inspect;
mod predict;
mod quantize;
mod report;
mod rows;
mod texts;
mod train;
mod training_data;

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;

pub use self::arguments::Cli;
use self::arguments::{CalibrateArgs, Command, CompleteArgs, EvaluateArgs, PredictArgs, ReportArgs};
use self::calibrate::{CalibrateJob, calibrate};
use self::complete::{CompleteJob, complete};
use self::evaluate::evaluate;
use self::inspect::inspect;
use self::predict::{PredictJob, predict};
use self::quantize::{QuantizeJob, quantize};
use self::report::{ReportJob, report};
use self::rows::Evaluation;
pub use self::rows::held_out;
use self::train::{Job, train};
use self::training_data::Sources;
use crate::error::{Error, Result};
use crate::predict::Predictor;
use crate::train::data::labelled::DataSource;
use crate::train::data::minimal_pairs;
use crate::train::interrupt::Interrupt;
use crate::train::pretrain::language_model::LanguageJob;
use crate::train::pretrain::word_vectors::VectorJob;
use crate::train::pretrain::{language_model, word_vectors};
use crate::train::settings::{Base, Overrides, Settings, check_split};
use crate::train::stage::{Expendable, print};

/// Runs one command line; answers go to `out`, `interrupt` stops a training.
///
/// # Errors
/// What went wrong, in one line; [`Error::Interrupted`] for a training that was stopped and saved.
pub fn run(cli: Cli, out: &mut (dyn Write + Send), interrupt: &Interrupt) -> Result<()> {
    match cli.command {
        Command::Train(args) => {
            let file = args.settings.as_deref().map(Overrides::load).transpose()?.unwrap_or_default();
            let data = args.download.path(args.data.as_deref())?;
            let data = DataSource::of(&data, &args.own.table.read)?;
            let base = Base::of(&data, &args.own, args.init.as_deref())?;
            check_split(&args.own, &args.overrides)?;
            let job = Job {
                settings: Settings::resolve_over(base, &file, &args.overrides)?,
                sources: Sources {
                    data,
                    own: args.own,
                    init: args.init,
                    vocabulary: args.vocabulary,
                    vectors: args.vectors,
                    teachers: args.teachers,
                    opinions: args.opinions,
                    phrases: args.phrases,
                },
                output: args.output,
                resume: args.resume,
                seeds: usize::from(args.seeds),
                command: typed_command(std::env::args().skip(1)),
            };
            train(&job, &mut Expendable(out), interrupt)
        }
        Command::Vectors(args) => {
            let job = VectorJob {
                settings: args.preset.settings()?,
                vectors: args.settings,
                data: args.data.path()?,
                output: args.output,
            };
            word_vectors::run(&job, &mut Expendable(out))
        }
        Command::Language(args) => {
            let job = LanguageJob {
                settings: args.preset.settings()?,
                language: args.settings,
                data: args.data.path()?,
                vectors: args.vectors,
                output: args.output,
                resume: args.resume,
            };
            language_model::run(&job, &mut Expendable(out), interrupt)
        }
        Command::Pairs(args) => {
            for model in &args.models {
                let judged = minimal_pairs::judge(
                    &Predictor::load(model)?,
                    minimal_pairs::load_pairs(args.pairs.as_deref())?,
                )?;
                let failures =
                    if args.failures { minimal_pairs::failures(&judged) + "\n" } else { String::new() };
                let table = minimal_pairs::table(&minimal_pairs::behaviour(&judged));
                write!(out, "{}\n\n{table}\n{failures}", model.display()).map_err(Error::io("output"))?;
            }
            Ok(())
        }
        Command::Evaluate(args) => {
            let EvaluateArgs { models, part, json, data, download, table } = args;
            let data = download.path(data.as_deref())?;
            let evaluated = evaluate(&Evaluation { models, data, table, part }, &mut std::io::stderr())?;
            let text = if json {
                serde_json::to_string(&evaluated).expect("plain data") + "\n"
            } else {
                evaluated.to_text()
            };
            print(out, &text)
        }
        Command::Report(args) => {
            let ReportArgs { model, data, download, part, output, force, mistakes, table } = args;
            let data = download.path(data.as_deref())?;
            let evaluation = Evaluation { models: vec![model], data, table, part };
            let command = typed_command(std::env::args().skip(1));
            let job = ReportJob { evaluation, output, force, mistakes, command };
            report(&job, out, &mut std::io::stderr())
        }
        Command::Calibrate(args) => {
            let CalibrateArgs { model, data, precision, by_length, output, table } = args;
            if let Some(share) = precision.filter(|share| !(*share > 0.5 && *share < 1.0)) {
                return Err(Error::setting("precision", format!("{share} does not lie between 0.5 and 1")));
            }
            let data = DataSource::of(&data, &table.read)?;
            let command = typed_command(std::env::args().skip(1));
            let job = CalibrateJob { model, data, table, precision, by_length, output, command };
            calibrate(&job, &mut Expendable(out))
        }
        Command::Complete(args) => {
            let CompleteArgs { model, data, part, force, table } = args;
            let rows = data.map(|data| Evaluation { models: vec![model.clone()], data, table, part });
            complete(&CompleteJob { model, rows, force }, out)
        }
        Command::Settings { preset } => print(out, &Settings::preset(&preset)?.described()),
        Command::Predict(args) => {
            let PredictArgs { model, input, output, force, read, write } = args;
            predict(&PredictJob { model, input, read, output, force, write }, out, &mut std::io::stderr())
        }
        Command::Texts(args) => texts::run(&args.data.path()?, &args.preset.settings()?, &args.texts, out),
        Command::Quantize(args) => {
            let job = QuantizeJob { model: args.model, data: args.data.path()?, output: args.output };
            quantize(&job, out)
        }
        Command::Inspect { model } => print(out, &inspect(&model)?),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "trainer", &mut text);
            print(out, &String::from_utf8_lossy(&text))
        }
        Command::Man => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut text).map_err(Error::io("manual page"))?;
            print(out, &String::from_utf8_lossy(&text))
        }
    }
}

/// The command as it was typed, the program's folder and those of absolute paths left out.
fn typed_command(words: impl Iterator<Item = String>) -> String {
    let words = words.map(|word| {
        let word = without_folders(&word);
        match word.contains([' ', '\'', '"']) {
            true => format!("'{word}'"),
            false => word,
        }
    });
    std::iter::once("trainer".to_string()).chain(words).collect::<Vec<_>>().join(" ")
}

/// `word` with the last part in the place of an absolute path, be it the whole word or behind `--flag=`: the record
/// travels with the model and is to name no folder of the machine that made it.
fn without_folders(word: &str) -> String {
    let flag = word.split_once('=').filter(|(flag, _)| flag.starts_with("--"));
    let (front, path) = flag.map_or(("", word), |(flag, path)| (&word[..flag.len() + 1], path));
    match Path::new(path).file_name().filter(|_| Path::new(path).is_absolute()) {
        Some(name) => format!("{front}{}", name.to_string_lossy()),
        None => word.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_command_names_no_folder_of_the_machine() {
        let typed =
            ["train", "--data", "/data/aclImdb.tar.gz", "--output=/home/me/my model/", "--vectors", "../v"];
        let command = typed_command(typed.into_iter().map(String::from));
        assert_eq!(command, "trainer train --data aclImdb.tar.gz '--output=my model' --vectors ../v");
        assert_eq!(without_folders("models/mine"), "models/mine");
        assert_eq!(without_folders("/"), "/");
    }
}
