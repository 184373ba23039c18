//! The trainer's command line; one file a sub-command.

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

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use self::calibrate::{CalibrateJob, calibrate};
use self::complete::{CompleteJob, complete};
use self::evaluate::evaluate;
use self::inspect::inspect;
use self::predict::{PredictJob, predict};
use self::quantize::{QuantizeJob, quantize};
use self::report::{ReportJob, report};
pub use self::rows::held_out;
use self::rows::{Evaluation, Part};
use self::texts::TextsArgs;
use self::train::{Job, train};
use crate::error::{Error, Result};
use crate::predict::Predictor;
use crate::train::data::download::{Source, cached};
use crate::train::data::labelled::{DataSource, OwnArgs, TableArgs};
use crate::train::data::minimal_pairs;
use crate::train::data::reader::ReadArgs;
use crate::train::data::writer::WriteArgs;
use crate::train::interrupt::Interrupt;
use crate::train::metrics::coverage_table;
use crate::train::pretrain::language_model::{LanguageJob, LanguageSettings};
use crate::train::pretrain::word_vectors::{VectorJob, VectorSettings};
use crate::train::pretrain::{language_model, word_vectors};
use crate::train::settings::{Base, DEFAULT_PRESET, Overrides, Settings};
use crate::train::stage::{Expendable, OutputArgs, ResumeArgs, print};

/// Trains, evaluates and inspects sentiment models of film reviews.
#[derive(Debug, Parser)]
#[command(name = "trainer", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model on the Large Movie Review Dataset and write its directory.
    Train(Box<TrainArgs>),
    /// Train word vectors on labelled and unlabelled reviews, for `train --vectors`.
    Vectors(VectorArgs),
    /// Train embedding and LSTM as a language model on labelled and unlabelled reviews, for `train --vectors`.
    Language(LanguageArgs),
    /// Compare models on minimal pairs: texts that differ in one thing (negation, intensity, contrast, a name).
    Pairs(PairsArgs),
    /// Print loss, accuracy, precision, recall, F1, AUC, calibration error, confusion matrix, and what is answered, how often
    /// rightly, from several scores on.
    Evaluate(EvaluateArgs),
    /// Write one page of HTML on a model: curves, calibration, accuracy by length and stars, mistakes, words that weigh most.
    Report(ReportArgs),
    /// Fit temperature and bias of a model, or its scale by length, to labelled rows of your own, its weights untouched; tell
    /// from which score on it is right as often as you want.
    Calibrate(CalibrateArgs),
    /// Add to a model directory what is missing beside its weights: golden reviews for the self-test, the baseline for drift,
    /// pictures, card.
    Complete(CompleteArgs),
    /// Print every setting with what it means and a preset's value, by group, as TOML for `train --settings`.
    Settings {
        /// The preset.
        #[arg(long, default_value = DEFAULT_PRESET)]
        preset: String,
    },
    /// Score the reviews of a file or of standard input, in order.
    Predict(PredictArgs),
    /// List the texts that a teacher is to judge, for `train --opinions`: whole reviews, single sentences, stretches.
    Texts(TextListArgs),
    /// Round a model's recurrent weights and hidden states to 8 bits, and say what that changes.
    Quantize(QuantizeArgs),
    /// Print a model's tensors, digests, settings and results.
    Inspect {
        /// The model directory.
        model: PathBuf,
    },
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

#[derive(Debug, Args)]
struct DataArgs {
    /// The public release: its folder or its .tar.gz.
    #[arg(long, value_name = "PATH", required_unless_present = "download", conflicts_with = "download")]
    data: Option<PathBuf>,
    #[command(flatten)]
    download: DownloadArgs,
}

#[derive(Debug, Args)]
struct DownloadArgs {
    /// Fetch the public release from its official address (84 MB) into the user's cache folder, once.
    #[arg(long)]
    download: bool,
    #[arg(long, hide = true)]
    download_url: Option<String>,
    #[arg(long, hide = true)]
    download_md5: Option<String>,
    #[arg(long, hide = true)]
    download_size: Option<u64>,
    #[arg(long, hide = true)]
    download_pause_ms: Option<u64>,
}

impl DataArgs {
    fn path(&self) -> Result<PathBuf> {
        self.download.path(self.data.as_deref())
    }
}

impl DownloadArgs {
    /// `data`, or what is fetched where there is none.
    fn path(&self, data: Option<&Path>) -> Result<PathBuf> {
        if let Some(path) = data {
            return Ok(path.to_path_buf());
        }
        let official = Source::default();
        let source = Source {
            url: self.download_url.clone().unwrap_or(official.url),
            md5: self.download_md5.clone().unwrap_or(official.md5),
            size_bytes: self.download_size.unwrap_or(official.size_bytes),
            pause: self.download_pause_ms.map_or(official.pause, Duration::from_millis),
        };
        cached(&source, None)
    }
}

#[derive(Debug, Args)]
struct TrainArgs {
    /// The public release (folder or .tar.gz), a table of your own with texts and labels (CSV, JSON lines, Parquet …), or a
    /// folder with a sub-folder for each class.
    #[arg(long, value_name = "PATH", required_unless_present = "download", conflicts_with = "download")]
    data: Option<PathBuf>,
    #[command(flatten)]
    download: DownloadArgs,
    /// A model to start from, such as models/imdb: it is fitted to your rows, its vocabulary extended.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["vocabulary", "vectors"])]
    init: Option<PathBuf>,
    #[command(flatten)]
    own: OwnArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// A published word index (JSON of word to rank) as vocabulary; otherwise the training reviews' words are counted.
    #[arg(long, value_name = "FILE")]
    vocabulary: Option<PathBuf>,
    /// Word vectors to start from (a directory that `trainer vectors` wrote); they bring their vocabulary.
    #[arg(long, value_name = "DIR", conflicts_with = "vocabulary")]
    vectors: Option<PathBuf>,
    /// A model whose opinion of the unlabelled reviews is learnt from as well; several are averaged.
    #[arg(long = "teacher", value_name = "DIR")]
    teachers: Vec<PathBuf>,
    /// Opinions of a teacher (`.jsonl`, `.csv`, `.safetensors`) on reviews, labelled or not, and on stretches of them, to
    /// learn from; may be given more than once, opinions on one text are averaged.
    #[arg(long = "opinions", value_name = "FILE")]
    opinions: Vec<PathBuf>,
    /// The file of phrases that `trainer texts --phrases` listed, where there are opinions on them.
    #[arg(long, value_name = "FILE", requires = "opinions")]
    phrases: Option<PathBuf>,
    #[command(flatten)]
    resume: ResumeArgs,
    /// Train with so many seeds in a row, that of `--seed` first: mean and spread of the figures go into the card, the weights
    /// are those of the first.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    seeds: u16,
    /// A TOML file of settings, named as the flags below with `_` for `-`.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

#[derive(Debug, Args)]
struct VectorArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    preset: PresetArgs,
    #[command(flatten)]
    settings: VectorSettings,
}

#[derive(Debug, Args)]
struct PresetArgs {
    /// The preset whose network, tokenizer, vocabulary size and split apply.
    #[arg(long, default_value = DEFAULT_PRESET)]
    preset: String,
    /// Share of the films that are set aside for one last look, where it is to be another than the preset's.
    #[arg(long)]
    final_share: Option<f64>,
    /// Share of the films that are held out, where it is to be another than the preset's.
    #[arg(long)]
    validation_share: Option<f64>,
}

impl PresetArgs {
    fn settings(self) -> Result<Settings> {
        let overrides = Overrides {
            preset: Some(self.preset),
            final_share: self.final_share,
            validation_share: self.validation_share,
            ..Overrides::default()
        };
        Settings::resolve(&Overrides::default(), &overrides)
    }
}

#[derive(Debug, Args)]
struct LanguageArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Word vectors to start from (a directory that `trainer vectors` wrote).
    #[arg(long, value_name = "DIR")]
    vectors: PathBuf,
    #[command(flatten)]
    preset: PresetArgs,
    #[command(flatten)]
    resume: ResumeArgs,
    #[command(flatten)]
    settings: LanguageSettings,
}

#[derive(Debug, Args)]
struct TextListArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    preset: PresetArgs,
    #[command(flatten)]
    texts: TextsArgs,
}

#[derive(Debug, Args)]
struct PairsArgs {
    /// Model directories.
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Pairs of your own, one JSON object a line: kind, a, b, expect (`a>b`, `a=b`, or `a=.5` with an empty b).
    #[arg(long, value_name = "FILE")]
    pairs: Option<PathBuf>,
    /// List the pairs that are not as expected.
    #[arg(long)]
    failures: bool,
}

#[derive(Debug, Args)]
struct EvaluateArgs {
    /// The model directory; of several, the mean opinion is measured, from which a student would learn.
    #[arg(long = "model", value_name = "DIR", required = true)]
    models: Vec<PathBuf>,
    /// Which reviews of the data set.
    #[arg(long = "on", value_name = "PART", default_value = "validation")]
    part: Part,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The public release (folder or .tar.gz), a table with texts and labels (CSV, JSON lines, Parquet …), or a folder with a
    /// sub-folder for each class.
    #[arg(long, value_name = "PATH", required_unless_present = "download", conflicts_with = "download")]
    data: Option<PathBuf>,
    #[command(flatten)]
    download: DownloadArgs,
    #[command(flatten)]
    table: TableArgs,
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// The model directory.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The public release (folder or .tar.gz), a table with texts and labels (CSV, JSON lines, Parquet …), or a folder with a
    /// sub-folder for each class.
    #[arg(long, value_name = "PATH", required_unless_present = "download", conflicts_with = "download")]
    data: Option<PathBuf>,
    #[command(flatten)]
    download: DownloadArgs,
    /// Which reviews of the public release.
    #[arg(long = "on", value_name = "PART", default_value = "validation")]
    part: Part,
    /// The file to write, such as report.html. It holds texts of the data.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Replace a file that is no report.
    #[arg(long)]
    force: bool,
    /// Mistakes that are listed, the most confident first.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    mistakes: usize,
    #[command(flatten)]
    table: TableArgs,
}

#[derive(Debug, Args)]
struct CalibrateArgs {
    /// The model directory.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// A table with texts and labels, or a folder with a sub-folder for each class.
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// The share of right answers that is wanted among those that are given, such as 0.95.
    #[arg(long, value_name = "SHARE")]
    precision: Option<f64>,
    /// Leave temperature and bias, and fit how much surer short texts are made than long ones; the rows are to be of many
    /// lengths, short ones above all.
    #[arg(long)]
    by_length: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    table: TableArgs,
}

#[derive(Debug, Args)]
struct CompleteArgs {
    /// The model directory.
    model: PathBuf,
    /// Labelled reviews that it has not learnt from, for the baseline and the calibration picture: the public release, a table,
    /// or a folder with a sub-folder for each class.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Which reviews of the public release.
    #[arg(long = "on", value_name = "PART", default_value = "validation")]
    part: Part,
    /// Write anew what is there; a card never is.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    table: TableArgs,
}

#[derive(Debug, Args)]
struct PredictArgs {
    /// The model directory.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The reviews: a file, or a pattern of files such as 'data/*.csv'; standard input otherwise. CSV and its dialects, JSON
    /// lines or an array, one text a line, Parquet; packed as .gz or .zst or not.
    #[arg(long, value_name = "FILES")]
    input: Option<PathBuf>,
    /// Where the answers go, by its name as .csv, .tsv, .jsonl or .parquet (.gz, .zst); standard output as JSON lines
    /// otherwise.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    write: WriteArgs,
}

#[derive(Debug, Args)]
struct QuantizeArgs {
    /// The model directory.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    output: OutputArgs,
}

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
            let job = Job {
                settings: Settings::resolve_over(base, &file, &args.overrides)?,
                data,
                own: args.own,
                init: args.init,
                vocabulary: args.vocabulary,
                vectors: args.vectors,
                teachers: args.teachers,
                opinions: args.opinions,
                phrases: args.phrases,
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
                evaluated.metrics.to_text() + &coverage_table(&evaluated.coverage)
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
            let PredictArgs { model, input, output, read, write } = args;
            predict(&PredictJob { model, input, read, output, write }, out, &mut std::io::stderr())
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
